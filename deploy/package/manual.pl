#!/usr/bin/perl
# Makes a manual page of what a program says of itself:
#
#     tf-coord --experimental-dump-help | manual.pl VERSION DATE >tf-coord.1
use strict;
use warnings;
use JSON::PP;

my ($version, $date) = @ARGV;
binmode STDOUT, ':encoding(UTF-8)';
my $root = decode_json(do { local $/; <STDIN> })->{command};

# Text that roff takes for text.
sub plain {
    my ($text) = @_;
    $text =~ s/\\/\\e/g;
    $text =~ s/-/\\-/g;
    $text =~ s/^(?=[.'])/\\&/mg;
    return $text;
}

# The lines of a discussion stay as they were written.
sub discussion {
    my ($command) = @_;
    print ".PP\n.nf\n", plain($command->{discussion}), "\n.fi\n" if $command->{discussion};
}

sub name { my ($name) = @_; return ($name->{kind} eq 'long' ? '--' : '-') . $name->{name} }

sub takesValue { return $_[0]{kind} eq 'option' }

# An argument in a synopsis.
sub brief {
    my ($argument) = @_;
    my $value = '\fI' . plain($argument->{valueName}) . '\fR';
    my $text = $argument->{kind} eq 'positional' ? $value : '\fB' . plain(name($argument->{preferredName})) . '\fR';
    $text .= " $value" if takesValue($argument);
    $text .= '...' if $argument->{isRepeating};
    return $argument->{isOptional} ? "[$text]" : $text;
}

sub shown { return grep { $_->{shouldDisplay} } @{ $_[0]{arguments} // [] } }

sub isCommon { return grep { ($_->{name} // '') =~ /^(help|version)$/ } @{ $_[0]{names} // [] } }

sub synopsis {
    my ($words, $command) = @_;
    my @own = grep { !isCommon($_) } shown($command);
    print ".PP\n.B ", plain($words), "\n", join("\n", map { brief($_) } @own), "\n";
}

sub arguments {
    my ($command) = @_;
    for my $argument (grep { !isCommon($_) } shown($command)) {
        my $title = join ', ', map { '\fB' . plain(name($_)) . '\fR' } @{ $argument->{names} // [] };
        my $value = '\fI' . plain($argument->{valueName}) . '\fR';
        $title = $argument->{kind} eq 'positional' ? $value : takesValue($argument) ? "$title $value" : $title;
        my $text = $argument->{abstract} // '';
        my $values = join ', ', @{ $argument->{allValues} // [] };
        $text .= " Values: $values." if $values;
        $text .= " Default: $argument->{defaultValue}." if defined $argument->{defaultValue};
        print ".TP\n$title\n", plain($text), "\n";
    }
}

sub subcommands {
    my ($words, $command) = @_;
    for my $child (grep { $_->{shouldDisplay} && $_->{commandName} ne 'help' } @{ $command->{subcommands} // [] }) {
        my $name = "$words $child->{commandName}";
        print ".SS ", plain($name), "\n", plain($child->{abstract} // ''), "\n";
        synopsis($name, $child);
        arguments($child);
        discussion($child);
        subcommands($name, $child);
    }
}

my $name = $root->{commandName};
my $title = uc $name;
my $hasCommands = @{ $root->{subcommands} // [] } > 0;
# Summaries of manual pages end without a full stop.
(my $summary = $root->{abstract} // '') =~ s/\.$//;
print qq{.TH "$title" 1 "$date" "transfusion $version" "transfusion"\n};
print ".SH NAME\n", plain($name), " \\- ", plain($summary), "\n.SH SYNOPSIS\n";
if ($hasCommands) { print '.B ', plain($name), "\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n" }
else { synopsis($name, $root) }
print ".SH DESCRIPTION\n", plain($root->{abstract} // ''), "\n";
discussion($root);
if ($hasCommands) {
    print ".SH COMMANDS\n";
    subcommands($name, $root);
}
print ".SH OPTIONS\n";
arguments($root);
print ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow help, also of a command.\n";
print ".TP\n\\fB\\-\\-version\\fR\nShow the version, the compiler, and the libraries that are used.\n";
print <<'END';
.SH EXIT STATUS
.TP
0
The work is done.
.TP
1
It failed; standard error says why in one line.
.TP
2
Wrong use: an option, a configuration, a path.
.TP
85
A run was stopped and is saved; started again, it goes on.
END
my @others = sort grep { $_ ne $name } qw(tf-bench tf-ckpt tf-coord tf-data tf-eval tf-sample tf-worker);
print ".SH SEE ALSO\n", join(",\n", map { '\fB' . plain($_) . '\fR(1)' } @others), "\n";
print ".PP\n/usr/share/doc/transfusion\n";
