//! The picture as a page that needs nothing else: it is moved with the pointer, made larger with the wheel, headings stay in
//! sight, and a step under the pointer shows what it waits for and what waits for it. Steps are found by their names, changes one
//! after another.

use super::Picture;
use super::svg::svg;
use crate::page::page;

const SCRIPT: &str = r"
const svg = document.querySelector('svg'), view = svg.viewBox.baseVal;
const whole = { w: view.width, h: view.height };
const lines = [...svg.querySelectorAll('path.line')], steps = [...svg.querySelectorAll('g.step')];
const phases = svg.querySelector('.phases'), names = svg.querySelector('.names');
// What stays in sight from above, and what from the left.
const [upper, left] = svg.classList.contains('down') ? [names, phases] : [phases, names];
svg.removeAttribute('width'); svg.removeAttribute('height'); svg.classList.add('moves');
function set(x, y, w, h) {
  view.x = x; view.y = y; view.width = w; view.height = h;
  upper.setAttribute('transform', `translate(0 ${Math.max(0, y - 82)})`);
  left.setAttribute('transform', `translate(${Math.max(0, x - 4)} 0)`);
}
// All of it, if that can be read; else from its upper left, as small as can be read.
function open() {
  const k = Math.min(Math.max(whole.w / innerWidth, whole.h / innerHeight, 1), 1.6);
  const w = innerWidth * k;
  set(Math.min(0, (whole.w - w) / 2), 0, w, innerHeight * k);
}
function all() {
  const k = Math.max(whole.w / innerWidth, whole.h / innerHeight, 1);
  set(0, 0, innerWidth * k, innerHeight * k);
}
function zoom(k, cx, cy) {
  const w = Math.min(Math.max(view.width * k, 200), whole.w * 4 + innerWidth), s = w / view.width;
  const px = view.x + cx / innerWidth * view.width, py = view.y + cy / innerHeight * view.height;
  set(px - (px - view.x) * s, py - (py - view.y) * s, w, view.height * s);
}
function go(step) {
  for (const other of steps) other.classList.toggle('found', other === step);
  const box = step.querySelector('.b').getBBox();
  set(box.x + box.width / 2 - innerWidth / 2, box.y + box.height / 2 - innerHeight / 2, innerWidth, innerHeight);
}
addEventListener('resize', open); open();
// In print all of it, as wide as the paper.
for (const [event, act] of [['beforeprint', () => set(0, 0, whole.w, whole.h)], ['afterprint', open]]) addEventListener(event, act);
if (matchMedia('print').matches) set(0, 0, whole.w, whole.h);
svg.addEventListener('wheel', event => {
  event.preventDefault();
  zoom(Math.exp(event.deltaY / 500), event.clientX, event.clientY);
}, { passive: false });
let from = null;
svg.addEventListener('pointerdown', event => { from = [event.clientX, event.clientY, view.x, view.y]; svg.setPointerCapture(event.pointerId); });
svg.addEventListener('pointermove', event => {
  if (!from) return;
  const k = view.width / innerWidth;
  set(from[2] - (event.clientX - from[0]) * k, from[3] - (event.clientY - from[1]) * k, view.width, view.height);
});
for (const end of ['pointerup', 'pointercancel']) svg.addEventListener(end, () => { from = null; });
svg.addEventListener('dblclick', all);
addEventListener('keydown', event => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey) return;
  if (moves) set(view.x + moves[0] * view.width / 8, view.y + moves[1] * view.height / 8, view.width, view.height);
  else if (event.key === '+' || event.key === '-') zoom(event.key === '+' ? .8 : 1.25, innerWidth / 2, innerHeight / 2);
});
for (const step of steps) {
  step.addEventListener('pointerenter', () => {
    const id = step.dataset.step, near = new Set([id]);
    for (const line of lines) if (line.dataset.from === id || line.dataset.to === id) {
      line.classList.add('near'); near.add(line.dataset.from); near.add(line.dataset.to);
    }
    svg.classList.add('looking');
    for (const other of steps) other.classList.toggle('near', near.has(other.dataset.step));
  });
  step.addEventListener('pointerleave', () => {
    svg.classList.remove('looking');
    for (const other of [...lines, ...steps]) other.classList.remove('near');
  });
}
const name = step => step.querySelector('title').textContent.split('\n')[0].toLowerCase();
const place = step => { const box = step.querySelector('.b').getBBox(); return [box.y, box.x]; };
const inOrder = some => some.sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
const changed = inOrder(steps.filter(step => ['added', 'removed', 'changed'].some(mark => step.classList.contains(mark))));
const word = document.querySelector('input'), found = document.querySelector('output');
let at = { change: -1, word: -1 };
function next(kind, some) {
  if (some.length) go(some[at[kind] = (at[kind] + 1) % some.length]);
  found.value = some.length ? `${at[kind] + 1} of ${some.length}` : 'none';
}
document.querySelector('form').addEventListener('submit', event => {
  event.preventDefault();
  const text = word.value.trim().toLowerCase();
  next('word', text ? inOrder(steps.filter(step => name(step).includes(text))) : []);
});
word.addEventListener('input', () => { at.word = -1; found.value = ''; });
const acts = { in: () => zoom(.8, innerWidth / 2, innerHeight / 2), out: () => zoom(1.25, innerWidth / 2, innerHeight / 2), all, change: () => next('change', changed) };
for (const button of document.querySelectorAll('button[name]')) button.addEventListener('click', () => acts[button.name]());
";

const STYLE: &str = "html,body{margin:0;height:100%;overflow:hidden}svg{width:100vw;height:100vh;cursor:grab;touch-action:none}\
svg.looking .step:not(.near){opacity:.3}svg.looking .line:not(.near){opacity:.12}\
.line.near{stroke:#0550ae;stroke-width:2.6}.moves .again{display:none}svg .step.found>.b{stroke:#0550ae;stroke-width:4}\
form{position:fixed;right:12px;bottom:12px;font:13px system-ui,sans-serif;background:var(--page);padding:4px;flex-wrap:wrap;max-width:calc(100vw - 24px);display:flex;gap:4px;align-items:center}\
button,input{font:inherit;padding:3px 9px;border:1px solid var(--line);border-radius:5px;background:var(--tint);color:var(--ink)}input{width:11em}output{min-width:4.5em;color:var(--soft)}\
@media(prefers-color-scheme:dark){html,body{background:#1a1a1a}svg{filter:invert(.9) hue-rotate(180deg)}}\
@media print{@page{size:landscape}html,body{height:auto;overflow:visible}form{display:none}svg{width:100%;height:auto;filter:none}}";

const BAR: &str = "<form><input type=\"search\" placeholder=\"find a step\" aria-label=\"find a step\"><output></output>\
<button type=\"button\" name=\"out\" title=\"smaller: wheel, or -\">\u{2212}</button>\
<button type=\"button\" name=\"in\" title=\"larger: wheel, or +\">+</button>\
<button type=\"button\" name=\"all\" title=\"all of it: double click\">whole</button>";
const CHANGE: &str = "<button type=\"button\" name=\"change\">next change</button>";

/// The picture as a page.
pub fn html(picture: &Picture) -> String {
    let change = if picture.is_diff { CHANGE } else { "" };
    let body = format!("{BAR}{change}</form>\n{}", svg(picture));
    page(&format!("plan {}", picture.title), STYLE, &body, SCRIPT)
}
