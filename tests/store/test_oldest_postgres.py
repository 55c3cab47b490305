"""The oldest PostgreSQL that we support understands every statement: a few tests of each kind, on that one."""

from tests.store.test_contract import (
    test_a_cancelled_run_is_final_at_once,
    test_a_finished_run_owes_its_webhook_until_it_is_settled,
    test_a_large_request_reaches_the_worker,
    test_a_list_is_newest_first_and_counts_exactly,
    test_a_run_lost_with_its_worker_goes_back_to_the_queue,
    test_a_worker_claims_from_the_queues_it_serves,
    test_a_worker_is_seen_with_its_card_and_its_runs,
    test_delete_removes_a_finished_run_only,
    test_the_same_key_and_body_give_the_same_run,
)
from tests.store.test_postgres import (
    others,
    test_no_run_is_claimed_twice,
    test_what_one_process_tells_the_others_hear,
)
from tests.store.test_schedules import test_of_many_that_fire_for_the_same_time_one_makes_a_run

STORES = ("postgres-14",)

__all__ = [
    "others",
    "test_a_cancelled_run_is_final_at_once",
    "test_a_finished_run_owes_its_webhook_until_it_is_settled",
    "test_a_large_request_reaches_the_worker",
    "test_a_list_is_newest_first_and_counts_exactly",
    "test_a_run_lost_with_its_worker_goes_back_to_the_queue",
    "test_a_worker_claims_from_the_queues_it_serves",
    "test_a_worker_is_seen_with_its_card_and_its_runs",
    "test_delete_removes_a_finished_run_only",
    "test_no_run_is_claimed_twice",
    "test_of_many_that_fire_for_the_same_time_one_makes_a_run",
    "test_the_same_key_and_body_give_the_same_run",
    "test_what_one_process_tells_the_others_hear",
]
