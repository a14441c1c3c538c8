# A tree of real files in `work`, as large as `megabytes` says: sourced behind `work.sh`.
real_files() {
  [ -d "$work/tree" ] && return
  mkdir "$work/tree"
  # Every n-th file of all that is installed, so that texts, programs and libraries have their real shares; the largest
  # left out, for one of them would be the tree.
  find /usr/share /usr/include /usr/lib /usr/bin -xdev -type f -readable -size -20M -printf '%s %p\n' 2>/dev/null | sort -k2 |
    awk -v most="$((megabytes * 1000000))" '
      { all += $1; size[NR] = $1; sub(/^[0-9]+ /, ""); path[NR] = $0 }
      END { step = all > most ? all / most : 1; for (at = 1; at <= NR; at += step) print path[int(at)] }' |
    tar -cf - --no-recursion -T - 2>/dev/null | tar -xf - -C "$work/tree"
}
