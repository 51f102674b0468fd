# Goes with ground.sh: whether somebody changed a release by hand.

# touched NAME [WORDS]: the files of a release that were changed or removed since they were unpacked, the first three by
# name, after those words. The time of the last change of the inode is what counts: no tool can set it back.
touched() {
  [ -f "$state/files/$1" ] && has find || return 0
  folder=$root/releases/$1
  {
    sed 's/^/was /' "$state/files/$1"
    find "$folder" -type f | sed 's/^/is /'
    find "$folder" -type f -cnewer "$state/releases/$1" 2>/dev/null | sed 's/^/new /'
  } | awk -v skip="${#folder}" -v words="${2-}" '
    { file = substr($0, index($0, " ") + skip + 2) }
    $1 == "was" { was[file] }
    $1 == "is" { is[file] }
    $1 == "new" && file in was { tell(file " was changed") }
    END {
      for (file in was) if (!(file in is)) tell(file " is gone")
      if (n > 3) print words n - 3 " more files are not as they were"
    }
    function tell(what) { if (++n <= 3) print words what }'
}
