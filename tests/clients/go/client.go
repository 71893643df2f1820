// SPDX-License-Identifier: MIT

// Go's net/rpc/jsonrpc over one connection to the port of lines.
package main

import (
	"fmt"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
)

type at struct {
	Type  string `json:"type"`
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

func check(name string, run func() error) {
	if err := run(); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
		return
	}
	fmt.Printf("ok %s\n", name)
}

func same(got, wanted any) error {
	if got != wanted {
		return fmt.Errorf("got %#v, wanted %#v", got, wanted)
	}
	return nil
}

func values(client *rpc.Client, kind string) error {
	var done bool
	if err := client.Call("Storage.Set", at{kind, "go", "devět"}, &done); err != nil || !done {
		return fmt.Errorf("Set: %v %w", done, err)
	}
	var value string
	if err := client.Call("Storage.Get", at{Type: kind, Key: "go"}, &value); err != nil {
		return err
	}
	if err := same(value, "devět"); err != nil {
		return err
	}
	for _, wanted := range []bool{true, false} {
		if err := client.Call("Storage.Delete", at{Type: kind, Key: "go"}, &done); err != nil {
			return err
		}
		if err := same(done, wanted); err != nil {
			return err
		}
	}
	return nil
}

func missing(client *rpc.Client, kind string) error {
	var value string
	err := client.Call("Storage.Get", at{Type: kind, Key: "go absent"}, &value)
	failure, ok := err.(rpc.ServerError)
	if !ok {
		return fmt.Errorf("no error of the server but %v, %q", err, value)
	}
	return same(string(failure), "KEY_NOT_EXIST")
}

// Many calls are under way on the connection before the first answer is read.
func manyAtOnce(client *rpc.Client) error {
	const count = 500
	for _, method := range []string{"Storage.Set", "Storage.Get"} {
		calls := make([]*rpc.Call, count)
		sets, gets := make([]bool, count), make([]string, count)
		for i := range calls {
			key := fmt.Sprintf("go %d", i)
			if method == "Storage.Set" {
				calls[i] = client.Go(method, at{"memory", key, key}, &sets[i], nil)
			} else {
				calls[i] = client.Go(method, at{Type: "memory", Key: key}, &gets[i], nil)
			}
		}
		for i, call := range calls {
			if <-call.Done; call.Error != nil {
				return call.Error
			}
			if method == "Storage.Get" {
				if err := same(gets[i], fmt.Sprintf("go %d", i)); err != nil {
					return err
				}
			} else if !sets[i] {
				return fmt.Errorf("Set %d is false", i)
			}
		}
	}
	return nil
}

func unknownMethod(client *rpc.Client) error {
	var value any
	err := client.Call("Storage.Nothing", at{Type: "memory", Key: "a"}, &value)
	if _, ok := err.(rpc.ServerError); !ok {
		return fmt.Errorf("no error of the server but %v", err)
	}
	return client.Call("Server.Ping", struct{}{}, &value)
}

func main() {
	client, err := jsonrpc.Dial("tcp", "127.0.0.1:"+os.Getenv("CLIENT_LINE_PORT"))
	if err != nil {
		fmt.Println("FAIL dial:", err)
		return
	}
	for _, kind := range []string{"memory", "hdd"} {
		kind := kind
		check("Set, Get and Delete ("+kind+")", func() error { return values(client, kind) })
		check("a missing key is an error ("+kind+")", func() error { return missing(client, kind) })
	}
	check("one thousand calls on one connection", func() error { return manyAtOnce(client) })
	check("an unknown method, and the connection lives on",
		func() error { return unknownMethod(client) })
	check("close", client.Close)
}
