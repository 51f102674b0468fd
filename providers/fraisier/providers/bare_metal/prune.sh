# Goes with ground.sh: old releases are removed.

do_prune() {
  begin
  find_running
  look_back
  find_kept
  removed=0 left=$keep
  for name in $kept; do
    left=$((left - 1))
    if [ "$left" -ge 0 ] || [ "$name" = "$running" ]; then continue; fi
    # The marker first: what is half gone is not there.
    rm -rf "$state/releases/$name" "$state/files/$name" "$state/commands/$name.start" "$state/commands/$name.stop" \
      "$state/units/$name" "$root/releases/$name"
    note prune "$name"
    removed=$((removed + 1))
  done
  if [ "$removed" -gt 0 ]; then flush "$state/effects"; fi
  record "$((removed > 0))" "removed $removed"
}
