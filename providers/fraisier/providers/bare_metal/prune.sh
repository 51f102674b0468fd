# Goes with ground.sh: old releases are removed.

# Nothing is flushed where another step of this generation was here before: what a power cut brings back is pruned another
# time, and whoever is older than the generation is kept away by the token of what was done before this.
do_prune() {
  begin
  if [ "$new_token" = same ] && [ "$ordinal" -gt "$seen_ordinal" ]; then new_token=''; fi
  look_back
  find_running
  prune_to "$keep"
  record "$((removed > 0))" "removed $removed"
}

# prune_to NUMBER: after look_back and find_running, remove all but so many releases, last activated first, and what runs.
# Into `removed`, how many.
prune_to() {
  find_kept
  removed=0 left=$1
  for name in $kept; do
    left=$((left - 1))
    if [ "$left" -ge 0 ] || [ "$name" = "$running" ]; then continue; fi
    flush_token
    # The marker first: what is half gone is not there.
    rm -rf "$state/releases/$name" "$state/files/$name" "$state/commands/$name.start" "$state/commands/$name.stop" \
      "$state/units/$name" "$root/releases/$name"
    note prune "$name"
    removed=$((removed + 1))
  done
}
