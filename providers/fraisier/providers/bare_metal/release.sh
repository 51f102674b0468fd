# The third part of the script that ground.sh begins: what arrives, and what a release is made of.

# digest_of FILE, into `arrived`
digest_of() {
  if has sha256sum; then arrived=$(sha256sum <"$1")
  elif has shasum; then arrived=$(shasum -a 256 <"$1")
  else arrived=$(openssl dgst -sha256 -r <"$1")
  fi
  arrived=${arrived%% *}
}

# --- what arrives ---------------------------------------------------------------------------------------------------

# The environment goes before the artifact, in as many lines as were told: `read` takes not a byte more. It holds
# secrets, and is for this user and whoever starts the service alone.
read_environment() {
  [ -n "$environment" ] || return 0
  umask 077
  line_number=0
  while [ "$line_number" -lt "$environment" ]; do
    IFS= read -r line || exit 74
    printf '%s\n' "$line"
    line_number=$((line_number + 1))
  done >"$box/environment"
  umask 022
}

receive_artifact() {
  say send
  mkdir "$box/tree"
  cat >"$box/artifact"
  digest_of "$box/artifact"
  [ "sha256:$arrived" = "$digest" ] || refuse 65 "what arrived has the digest sha256:$arrived"
  unpack
  configure "$box/tree"
  sync -f "$box" 2>/dev/null || sync
}

# The worker has looked into the artifact by now. A host believes nobody.
unpack() {
  nl='
'
  entries=$nl$(tar -t -z -f "$box/artifact")$nl
  case $entries in
    *"$nl/"* | *"$nl../"* | */../* | *"/..$nl"* | *"$nl..$nl"*) refuse_outside ;;
  esac
  tar -x -z -o -f "$box/artifact" -C "$box/tree"
  rm "$box/artifact"
  if [ -n "$(cd "$box/tree" && neither_file_nor_folder -o -type l)" ]; then refuse_unsafe; fi
  chmod -R u+rwX,go-w "$box/tree"
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
