//! The picture as a page that needs nothing else: it is moved with the pointer, made larger with the wheel, and a step under
//! the pointer shows what it waits for and what waits for it.

use super::Picture;
use super::svg::{escaped, svg};

const SCRIPT: &str = r"
const svg = document.querySelector('svg'), view = svg.viewBox.baseVal;
const whole = { x: 0, y: 0, w: view.width, h: view.height };
svg.removeAttribute('width'); svg.removeAttribute('height');
function fit() {
  const k = Math.max(whole.w / innerWidth, 1);
  set(0, 0, innerWidth * k, innerHeight * k);
}
function set(x, y, w, h) { view.x = x; view.y = y; view.width = w; view.height = h; }
addEventListener('resize', fit); fit();
svg.addEventListener('wheel', event => {
  event.preventDefault();
  const k = Math.exp(event.deltaY / 500), box = svg.getBoundingClientRect();
  const w = Math.min(Math.max(view.width * k, 200), whole.w * 4), s = w / view.width;
  const px = view.x + (event.clientX - box.left) / box.width * view.width;
  const py = view.y + (event.clientY - box.top) / box.height * view.height;
  set(px - (px - view.x) * s, py - (py - view.y) * s, w, view.height * s);
}, { passive: false });
let from = null;
svg.addEventListener('pointerdown', event => { from = [event.clientX, event.clientY, view.x, view.y]; svg.setPointerCapture(event.pointerId); });
svg.addEventListener('pointermove', event => {
  if (!from) return;
  const k = view.width / svg.getBoundingClientRect().width;
  set(from[2] - (event.clientX - from[0]) * k, from[3] - (event.clientY - from[1]) * k, view.width, view.height);
});
svg.addEventListener('pointerup', () => { from = null; });
svg.addEventListener('dblclick', fit);
const lines = [...svg.querySelectorAll('path.line')], steps = [...svg.querySelectorAll('g.step')];
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
";

const STYLE: &str = "html,body{margin:0;height:100%;overflow:hidden;background:#fff}svg{width:100vw;height:100vh;cursor:grab;touch-action:none}\
svg.looking .step:not(.near){opacity:.3}svg.looking .line:not(.near){opacity:.12}\
.line.near{stroke:#0550ae;stroke-width:2.6}";

/// The picture as a page.
pub fn html(picture: &Picture) -> String {
    let title = escaped(&picture.title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>plan {title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n{}<script>{SCRIPT}</script>\n</body>\n</html>\n",
        svg(picture)
    )
}
