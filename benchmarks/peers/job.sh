# The whole job as one command: sh -c "$THIS" job ROOT VERSION DIGEST
# Says "send" when it wants the artifact on its stdin, and last of all "changed" or "unchanged".
set -eu
root=$1 version=$2 digest=$3
mkdir -p "$root/releases"
cd "$root"
check() { [ "$(current/bin/app version)" = "$version" ]; }
here=$(readlink current 2>/dev/null) || here=
if [ "$here" = "releases/$version" ] && [ "$(cat "$here/.digest" 2>/dev/null)" = "$digest" ]; then
  check
  echo unchanged
  exit 0
fi
mkdir -p "releases/$version"
echo send
cat >artifact
echo "$digest  artifact" | sha256sum --check --status
tar -xzf artifact -C "releases/$version"
rm artifact
echo "$digest" >"releases/$version/.digest"
ln -s "releases/$version" current.new
mv -T current.new current
current/bin/app restart
check
ls -1t releases | tail -n +4 | while read -r old; do rm -rf "releases/$old"; done
echo changed
