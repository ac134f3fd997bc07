"""The end-to-end tests against the double, so that they are known to work before anybody has a cluster; deleting pods needs one."""

from tests.e2e.test_kubeflow import (
    test_a_model_that_passes_both_gates_is_promoted_and_the_same_key_never_starts_a_second_run,
    test_a_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled,
    test_a_run_that_was_stopped_says_so_and_can_be_tried_again,
    test_a_schedule_fires_a_run_that_is_named_by_kubeflow_and_is_gone_after_its_file_is,
)

__all__ = [
    "test_a_model_that_passes_both_gates_is_promoted_and_the_same_key_never_starts_a_second_run",
    "test_a_model_that_the_gate_refuses_is_rejected_and_nothing_is_compiled",
    "test_a_run_that_was_stopped_says_so_and_can_be_tried_again",
    "test_a_schedule_fires_a_run_that_is_named_by_kubeflow_and_is_gone_after_its_file_is",
]
