#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# JSON::RPC::Legacy::Client (libjson-rpc-perl): JSON-RPC 1.1, 1.0 and 2.0 against /rpc.
use strict;
use warnings;
use utf8;
use JSON::RPC::Legacy::Client;

my $uri = "http://127.0.0.1:$ENV{CLIENT_HTTP_PORT}/rpc";
$| = 1;

sub check {
    my ($name, $run) = @_;
    if (eval { $run->(); 1 }) {
        print "ok $name\n";
    }
    else {
        my $why = "$@";
        $why =~ s/\s+/ /g;
        print "FAIL $name: $why\n";
    }
}

sub same {
    my ($got, $wanted) = @_;
    $got = '(undefined)' unless defined $got;
    die "got $got, wanted $wanted" unless $got eq $wanted;
}

my $client = JSON::RPC::Legacy::Client->new;
$client->prepare($uri, [qw(Storage.Set Storage.Get Storage.Delete)]);
my ($set, $get, $delete) = qw(Storage.Set Storage.Get Storage.Delete);
for my $type (qw(memory hdd)) {
    check "prepared methods Set, Get and Delete ($type)", sub {
        same($client->$set($type, 'perl', 'čtyři'), 1);
        same($client->$get($type, 'perl'), 'čtyři');
        same($client->$set({ type => $type, key => 'perl', value => 'by name' }), 1);
        same($client->$get({ type => $type, key => 'perl' }), 'by name');
        same($client->$delete($type, 'perl') ? 'true' : 'false', 'true');
        same($client->$delete($type, 'perl') ? 'true' : 'false', 'false');
    };
    check "a prepared Get of a missing key dies ($type)", sub {
        die 'no failure' if eval { $client->$get($type, 'perl absent'); 1 };
        my $why = "$@";
        die $why unless $why =~ /^\(Procedure error\) KEY_NOT_EXIST/;
    };
}

for my $version (qw(1.0 1.1)) {
    my $caller = JSON::RPC::Legacy::Client->new;
    $caller->version($version);
    my $id = 7;
    my $call = sub {
        my ($method, @params) = @_;
        my $object = { method => $method, params => [@params], id => $id };
        $caller->id($id++);
        my $answer = $caller->call($uri, $object) or die $caller->status_line;
        same($answer->content->{id}, $id - 1);
        return $answer;
    };
    check "call() of version $version", sub {
        same($call->('Storage.Set', 'memory', "perl $version", 'pět')->result, 1);
        same($call->('Storage.Get', 'memory', "perl $version")->result, 'pět');
        same($call->('Storage.Delete', 'memory', "perl $version")->result, 1);
    };
    check "call() of version $version sees a missing key", sub {
        my $answer = $call->('Storage.Get', 'memory', "perl $version");
        die 'taken for a success' if $answer->is_success;
        same($answer->error_message, 'KEY_NOT_EXIST');
    };
}

my $two = JSON::RPC::Legacy::Client->new;
check 'call() of version 2.0', sub {
    my $answer = $two->call($uri, { jsonrpc => '2.0', id => 'a', method => 'Storage.Set',
        params => { type => 'memory', key => 'perl 2.0', value => 'šest' } });
    same($answer->result, 1);
    $answer = $two->call($uri, { jsonrpc => '2.0', id => 'b', method => 'Storage.Get',
        params => [ 'memory', 'perl absent' ] });
    die 'taken for a success' if $answer->is_success;
    same($answer->content->{error}{code}, -32001);
};
check 'a notification is done and not answered', sub {
    my $answer = $two->call($uri, { jsonrpc => '2.0', method => 'Storage.Set',
        params => [ 'memory', 'perl 2.0', 'noted' ] });
    die 'answered' if $answer;
    same(substr($two->status_line, 0, 3), '200');
    same($client->$get('memory', 'perl 2.0'), 'noted');
};
