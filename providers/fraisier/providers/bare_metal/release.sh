# Goes with ground.sh, touched.sh and prune.sh: what arrives, and what a release is made of.

# digest_of FILE, into `arrived`
digest_of() {
  if has sha256sum; then arrived=$(sha256sum <"$1")
  elif has shasum; then arrived=$(shasum -a 256 <"$1")
  else arrived=$(openssl dgst -sha256 -r <"$1")
  fi
  arrived=${arrived%% *}
}

do_stage() {
  prepare
  read_environment
  begin
  sweep
  if as_it_came "$release"; then
    stay
    return
  fi
  unlock
  receive_artifact
  lock
  fence
  if as_it_came "$release"; then
    stay
    return
  fi
  if is_full; then look_back; fi
  find_running
  [ "$running" != "$release" ] || refuse 78 "$root/current points to $release, which no rollout brought: move it away"
  # The marker first: what is half gone is not there.
  if [ -e "$root/releases/$release" ]; then rm -rf "$state/releases/$release" "$root/releases/$release"; fi
  make_room
  mv "$box/tree" "$root/releases/$release"
  mark_as_staged
  note stage "$release"
  flush "$root/releases" "$state/files/$release" "$state/releases/$release" "$state/releases" "$state/effects"
  record 1 unpacked
  say_kept
}

# as_it_came NAME: it is here, and nobody changed it, or it is what runs and stays as it is.
as_it_came() {
  staged "$1" || return 1
  find_running
  [ "$running" = "$1" ] || [ -z "$(touched "$1")" ]
}

# With the files as they are now: what changes later was changed by hand.
mark_as_staged() {
  find "$root/releases/$release" -type f >"$state/files/$release"
  write_line "$state/releases/$release" "$version $digest"
}

# After as_it_came: it is there. What runs stays as it is; any other release is configured as the manifest says now.
stay() {
  if [ "$running" != "$release" ]; then
    flush_token
    configure "$root/releases/$release"
    mark_as_staged
    flush "$state/files/$release" "$state/releases/$release"
  fi
  record 0 already there
  say_kept
}

# With one more there are as many as are kept: what would be pruned once it runs goes now, which spares another step. What
# runs stays, so that the way back is there.
make_room() { if is_full; then prune_to "$((keep - 1))"; fi; }

is_full() {
  set -- "$state/releases"/*
  [ "$#" -ge "$keep" ]
}

# How many releases are here at most: where none is too many, there is nothing to prune.
say_kept() {
  set -- "$state/releases"/*
  say "kept $# $removed"
}

# Remove what dead attempts left behind.
sweep() {
  for left in "$state/incoming"/*; do
    if [ -d "$left" ] && ! kill -0 "${left##*/}" 2>/dev/null; then discard "$left"; fi
  done
}

# --- what arrives ---------------------------------------------------------------------------------------------------

# The environment goes before the artifact, in as many lines as were told: `read` takes not a byte more. It holds
# secrets, and is for this user and whoever starts the service alone.
read_environment() {
  [ -n "$environment" ] || return 0
  open_box
  umask 077
  line_number=0
  while [ "$line_number" -lt "$environment" ]; do
    IFS= read -r line || exit 74
    printf '%s\n' "$line"
    line_number=$((line_number + 1))
  done >"$box/environment"
  umask 022
}

# A folder of this process alone; what a dead one of its number has left there goes.
open_box() {
  box=$state/incoming/$$
  if [ -e "$box" ]; then discard "$box"; fi
  mkdir "$box" "$box/tree"
}

receive_artifact() {
  [ -n "$box" ] || open_box
  say send
  cat >"$box/artifact"
  digest_of "$box/artifact"
  [ "sha256:$arrived" = "$digest" ] || refuse 65 "what arrived has the digest sha256:$arrived"
  unpack
  configure "$box/tree"
  # All of the file system, the token among it.
  sync -f "$box" 2>/dev/null || sync
  token_is_flushed
}

# The worker has looked into the artifact by now. A host believes nobody.
# No tar leaves its folder. An artifact that wants it to is refused all the same, unless this tar hides even the names.
unpack() {
  status=0
  entries=$(tar -x -v -z -o -f "$box/artifact" -C "$box/tree" 2>"$box/said") || status=$?
  if [ "$status" != 0 ]; then cat "$box/said" >&2; fi
  # bsdtar lists on stderr what it unpacks.
  if [ "$status" != 0 ] || [ -z "$entries" ]; then entries=$(tar -t -z -f "$box/artifact"); fi
  entries=$newline$entries$newline
  case $entries in
    *"$newline/"* | *"$newline../"* | */../* | *"/..$newline"* | *"$newline..$newline"*) refuse_outside ;;
  esac
  [ "$status" = 0 ] || exit "$status"
  : >"$box/artifact"
  # Most artifacts hold nothing but files and folders with ordinary rights, and one look tells.
  if [ -n "$(cd "$box/tree" && neither_file_nor_folder -o -type l -o ! -perm -600 -o -perm -20 -o -perm -2 \
    -o ! -perm -100 \( -type d -o -perm -10 -o -perm -1 \) 2>&1)" ]; then
    chmod -R u+rwX,go-w "$box/tree"
    refuse_unsafe
  fi
}

refuse_outside() {
  outside=$(printf '%s' "$entries" | grep -E '^/|(^|/)\.\.(/|$)' | head -n 1)
  refuse 65 "the artifact would be unpacked outside of its folder: $outside"
}

neither_file_nor_folder() {
  find . \( ! -type f ! -type d ! -type l \) -o -type f \( -perm -4000 -o -perm -2000 \) "$@"
}

refuse_unsafe() {
  unsafe=$(cd "$box/tree" && { neither_file_nor_folder && links_that_leave; } | head -n 1)
  [ -z "$unsafe" ] || refuse 65 "the artifact holds a device, a set-id program, or a link that leaves it: $unsafe"
}

# Of the links below this folder those that lead out of it, by what is there, and by their words where nothing is.
links_that_leave() {
  top=$(pwd -P)
  find . -type l | while IFS= read -r link; do
    aim=$(readlink "$link") || aim=/
    at=${link%/*}
    case $aim in
      /*) place=/ ;;
      *) place=$(cd -P "$at" && { cd -P "$aim" || cd -P "$(dirname "$aim")"; } 2>/dev/null && pwd -P) || place='' ;;
    esac
    if [ -z "$place" ] && stays "$at/$aim"; then place=$top; fi
    case $place/ in "$top"/*) ;; *) printf '%s\n' "$link" ;; esac
  done
}

# stays PATH: whether its words never lead above where they begin.
stays() (
  set -f
  IFS=/
  level=0
  for part in $1; do
    case $part in
      '' | .) ;;
      ..) level=$((level - 1)) ;;
      *) level=$((level + 1)) ;;
    esac
    [ "$level" -ge 0 ] || exit 1
  done
)

# --- what the manifest adds to it -----------------------------------------------------------------------------------

# configure TREE: links to what releases share, and the environment.
configure() {
  if [ -z "$shared_folders$shared_files$environment" ] && [ ! -L "$1/fraisier.env" ] && [ ! -e "$1/fraisier.env" ]; then
    return
  fi
  tree=$(cd -P "$1" && pwd -P)
  printf '%s\n' "$shared_folders" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    mkdir -p "$root/shared/$path"
    share "$path"
  done
  printf '%s\n' "$shared_files" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    [ -f "$root/shared/$path" ] || refuse 78 "the shared file $root/shared/$path is not there: put it there"
    share "$path"
  done
  rm -f "$tree/fraisier.env"
  if [ -n "$environment" ]; then
    mv "$box/environment" "$tree/fraisier.env"
    flush "$tree/fraisier.env"
  fi
}

# share PATH: a link instead of what the release has there.
share() {
  [ "$(readlink "$tree/$1" 2>/dev/null)" != "$root/shared/$1" ] || return 0
  mkdir -p "$(dirname "$tree/$1")"
  case $(cd -P "$(dirname "$tree/$1")" && pwd -P)/ in
    "$tree"/*) ;;
    *) refuse 78 "$tree/$1 is inside of what was shared before: prune the release" ;;
  esac
  rm -rf "${tree:?}/$1"
  ln -s "$root/shared/$1" "$tree/$1"
}
