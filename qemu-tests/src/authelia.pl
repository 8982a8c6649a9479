# What Authelia 4.39 does to its list of people, as its sources tell: it keeps in memory what it has read
# last, and when somebody changes a password it writes all of that over the file, emptied before. It
# leaves `disabled` out. It reads the file when that changes, but not for half a second after it has
# read or written it itself. Here bob changes his password again and again, until the file `stop` is there;
# how often he did is printed then.

use strict;
use warnings;
use Time::HiRes qw(time sleep stat);

my ($path, $stop) = @ARGV;
my (%people, $seen);
my ($deaf, $times, $next) = (0, 0, time + 0.5);
srand 7;
$| = 1;

sub state_of_file { join ' ', (stat $path)[1, 7, 9] }

sub load_people {
    open my $file, '<', $path or return;
    my $text = do { local $/; <$file> };
    return unless defined $text and length $text;
    %people = ();
    my $name;
    for (split /\n/, $text) {
        if (/^  (\S+):$/) { $name = $1 }
        elsif (/^    (password|displayname|email): (.*)$/) { $people{$name}{$1} = $2 }
        elsif (/^ +- (.*)$/) { push @{ $people{$name}{groups} }, $1 }
    }
}

sub save_people {
    my $text = "users:\n";
    for my $name (sort keys %people) {
        my $person = $people{$name};
        $text .= "  $name:\n" . join '', map { "    $_: $person->{$_}\n" } qw(password displayname email);
        $text .= "    groups:\n" . join '', map { "      - $_\n" } @{ $person->{groups} };
    }
    open my $file, '>', $path or die "$path: $!";
    syswrite $file, $text;
}

load_people();
$seen = state_of_file();
print "ready\n";
until (-e $stop) {
    my $now = state_of_file();
    if ($now ne $seen) {
        $seen = $now;
        if (time >= $deaf) {
            load_people();
            $deaf = time + 0.5;
        }
    }
    if (time >= $next) {
        $times++;
        $people{bob}{password} = "\$argon2id\$by-the-portal-$times";
        $deaf = time + 0.5;
        save_people();
        $next = time + 0.3 + rand 2;
    }
    sleep 0.01;
}
print "$times\n";
