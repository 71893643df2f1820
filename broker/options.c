/* SPDX-License-Identifier: MIT */
#include "broker/broker.h"

void broker_queue_options_init(struct broker_queue_options *options) {
    *options = (struct broker_queue_options){
        .storage = BROKER_HDD, .overflow = OVERFLOW_REJECT, .lease_ms = BROKER_LEASE_DEFAULT_MS};
}

const char *broker_reason_word(enum broker_reason reason) {
    switch (reason) {
    case REASON_MAX_DELIVER:
        return "max-deliver";
    case REASON_EXPIRED:
        return "expired";
    case REASON_NONE:
        break;
    }
    return "";
}
