/* SPDX-License-Identifier: MIT */
/* libjson-rpc-cpp (libjsonrpccpp-dev): its HTTP client in both versions against /rpc. */
#include <cstdlib>
#include <functional>
#include <iostream>
#include <jsonrpccpp/client.h>
#include <jsonrpccpp/client/connectors/httpclient.h>
#include <stdexcept>
#include <string>

using jsonrpc::Client;

static void check(const std::string &name, const std::function<void()> &run) {
    try {
        run();
        std::cout << "ok " << name << std::endl;
    } catch (const std::exception &error) {
        std::cout << "FAIL " << name << ": " << error.what() << std::endl;
    }
}

static void same(const Json::Value &got, const Json::Value &wanted) {
    if (got != wanted)
        throw std::runtime_error("got " + got.toStyledString() + " wanted " +
                                 wanted.toStyledString());
}

static Json::Value params(const std::string &type, const std::string &key) {
    Json::Value at;
    at["type"] = type;
    at["key"] = key;
    return at;
}

static Json::Value with(Json::Value at, const std::string &value) {
    at["value"] = value;
    return at;
}

static Json::Value list(const std::string &type, const std::string &key) {
    Json::Value at(Json::arrayValue);
    at.append(type);
    at.append(key);
    return at;
}

static void values(Client &client, const std::string &type) {
    Json::Value at = params(type, "cpp");
    same(client.CallMethod("Storage.Set", with(at, "sedm \"7\" \xc5\xbe")), true);
    same(client.CallMethod("Storage.Get", at), "sedm \"7\" \xc5\xbe");
    same(client.CallMethod("Storage.Get", list(type, "cpp")), "sedm \"7\" \xc5\xbe");
    same(client.CallMethod("Storage.Delete", at), true);
    same(client.CallMethod("Storage.Delete", at), false);
}

static void missing(Client &client, const std::string &type) {
    try {
        client.CallMethod("Storage.Get", params(type, "cpp absent"));
    } catch (const jsonrpc::JsonRpcException &error) {
        same(error.GetCode(), -32001);
        /* The client has a text of its own for this code, and puts ours after it. */
        same(error.GetMessage().find("KEY_NOT_EXIST") != std::string::npos, true);
        return;
    }
    throw std::runtime_error("no failure");
}

static void notification(Client &client) {
    Json::Value at = params("memory", "cpp noted");
    client.CallNotification("Storage.Set", with(at, "noted"));
    same(client.CallMethod("Storage.Get", at), "noted");
}

static void batch(Client &client) {
    Json::Value at = params("memory", "cpp batch");
    jsonrpc::BatchCall calls;
    int set = calls.addCall("Storage.Set", with(at, "1"));
    calls.addCall("Storage.Set", with(params("memory", "cpp silent"), "heard"), true);
    int increment = calls.addCall("Storage.Increment", at);
    jsonrpc::BatchResponse answers = client.CallProcedures(calls);
    same(answers.hasErrors(), false);
    same(answers.getResult(set), true);
    same(answers.getResult(increment), 2);
    same(client.CallMethod("Storage.Get", params("memory", "cpp silent")), "heard");
}

static void batch_with_failure(Client &client) {
    jsonrpc::BatchCall calls;
    int absent = calls.addCall("Storage.Get", params("memory", "cpp absent"));
    int ping = calls.addCall("Server.Ping", Json::Value(Json::arrayValue));
    jsonrpc::BatchResponse answers = client.CallProcedures(calls);
    same(answers.hasErrors(), true);
    same(answers.getErrorMessage(absent).substr(0, 13), "KEY_NOT_EXIST");
    same(answers.getResult(ping), "pong");
}

static void version_one(Client &client) {
    Json::Value set(Json::arrayValue);
    set.append(with(params("memory", "cpp one"), "osm"));
    same(client.CallMethod("Storage.Set", set), true);
    same(client.CallMethod("Storage.Get", list("memory", "cpp one")), "osm");
    same(client.CallMethod("Storage.Delete", list("memory", "cpp one")), true);
}

int main() {
    const char *port = std::getenv("CLIENT_HTTP_PORT");
    jsonrpc::HttpClient connector("http://127.0.0.1:" + std::string(port ? port : "") + "/rpc");
    Client client(connector);
    for (const char *type : {"memory", "hdd"}) {
        check(std::string("Set, Get and Delete (") + type + ")", [&] { values(client, type); });
        check(std::string("a missing key is an error (") + type + ")",
              [&] { missing(client, type); });
    }
    check("a notification is done", [&] { notification(client); });
    check("a batch with a notification in it", [&] { batch(client); });
    check("a batch with a failure in it", [&] { batch_with_failure(client); });
    Client one(connector, jsonrpc::JSONRPC_CLIENT_V1);
    check("JSON-RPC 1.0", [&] { version_one(one); });
    return 0;
}
