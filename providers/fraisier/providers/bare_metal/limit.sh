# How a command is bounded on a host, in a step and by itself: needs `time_limit` and `grace`, in seconds.

has() { command -v "$1" >/dev/null 2>&1; }

# Ends a command and all that it has started when its time is over, or when this is sent TERM: by TERM to its process
# group, and after the grace by KILL. What ends in time may leave something running, as a start does. The command gets
# signals as they are by default, for a shell's background jobs ignore some, and none of our locks; this keeps them as
# long as the command runs, also when nobody listens any more. A process of sudo is root's and heeds no signal of ours, but an alarm that it brought along.
# shellcheck disable=SC2016 # Perl's own words
limiter='
  my ($limit, $grace) = splice @ARGV, 0, 2;
  my ($command, @signals) = (0, "TERM", "KILL");
  sub ended_by { my $signal = shift @signals or exit 124; kill $signal, -$command; alarm $grace }
  my $late = 0;
  $SIG{$_} = "IGNORE" for qw(HUP PIPE);
  $SIG{TERM} = sub { $command or exit 143; ended_by() };
  $SIG{ALRM} = sub {
    $late++ or @signals < 2 or print STDERR "$ARGV[0] did not end within $limit s\n";
    ended_by();
  };
  $command = fork;
  defined $command or die "fork: $!\n";
  unless ($command) {
    $SIG{$_} = "DEFAULT" for qw(ALRM HUP INT PIPE QUIT TERM);
    setpgrp;
    for (8, 9) { open my $ours, "<&=", $_ and close $ours }
    alarm $limit if $ARGV[0] eq "sudo";
    exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\n";
  }
  alarm $limit;
  waitpid $command, 0;
  my $status = $?;
  select undef, undef, undef, 0.05 while @signals == 1 && kill 0, -$command;
  exit($late ? 124 : $status & 127 ? 128 + ($status & 127) : $status >> 8);
'

# limited COMMAND...: in a subshell, which becomes what bounds it. Where there is no perl, `timeout` does nearly the same:
# it says nothing, and may leave what heeds no TERM.
limited() {
  if has perl; then exec perl -e "$limiter" "$time_limit" "$grace" "$@"
  elif has timeout; then exec timeout -k "$grace" "$time_limit" "$@" 8>&- 9>&-
  else exec "$@" 8>&- 9>&-
  fi
}
