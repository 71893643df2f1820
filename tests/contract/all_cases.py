# SPDX-License-Identifier: MIT
"""Which cases there are: SHARED ones take a runner and a server that they share, the others bring
their own."""
import cases_all_doors
import cases_auth
import cases_broker
import cases_broker_batch
import cases_broker_leases
import cases_broker_limits
import cases_broker_push
import cases_broker_queues
import cases_broker_rest
import cases_broker_start
import cases_documents
import cases_encryption
import cases_jwks
import cases_kvstore
import cases_large
import cases_limits
import cases_lines
import cases_metrics
import cases_olivia
import cases_pages
import cases_rest
import cases_rpc
import cases_smuggling
import cases_snapshot
import cases_start
import cases_tls
import cases_tokens
import cases_traces
import cases_watch

SHARED = [cases.run for cases in (
    cases_all_doors, cases_lines, cases_rpc, cases_rest, cases_smuggling, cases_broker,
    cases_broker_leases, cases_broker_queues, cases_broker_rest, cases_broker_push,
    cases_broker_batch, cases_broker_limits, cases_kvstore, cases_metrics, cases_traces,
    cases_watch)]
ALONE = [
    cases_auth.run, cases_tokens.run, cases_jwks.run, cases_start.run, cases_broker_start.run,
    cases_documents.run,
    cases_kvstore.run_alone, cases_watch.run_alone, cases_olivia.run, cases_metrics.run_alone,
    cases_traces.run_alone, cases_limits.run, cases_large.run, cases_tls.run, cases_encryption.run,
    cases_pages.run, cases_snapshot.run]
