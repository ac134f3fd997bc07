# What each ServiceAccount reads and writes in the bucket, as the steps of src/sightline do it.
#
# reads: GetObject and listing. writes: reads and PutObject. deletes: writes and DeleteObject. The write-once prefixes of registry/ are in
# writes like others; the bucket's own policy makes sure that nothing there is ever replaced.

locals {
  # The ledger with the bundles that it names: what everyone needs who asks for the champion.
  champion = ["registry/ledger/", "registry/models/"]

  steps = {
    ingest = {
      reads   = ["data/"]
      writes  = ["cache/ingest/", "cache/ingest-memory/", "cache/ingest-etags/", "registry/golden/"]
      deletes = []
    }
    tune = {
      reads   = []
      writes  = ["cache/tune/"]
      deletes = ["jobs/"]
    }
    train = {
      reads   = local.champion
      writes  = ["cache/train/"]
      deletes = ["jobs/"]
    }
    gate = {
      reads   = concat(local.champion, ["registry/audits/", "registry/overrides/"])
      writes  = ["cache/gate-trained/", "cache/gate-compiled/", "registry/looks/"]
      deletes = []
    }
    compile = {
      reads   = []
      writes  = ["cache/compile/"]
      deletes = []
    }
    deploy = {
      reads   = ["registry/overrides/", "registry/approvals/"]
      writes  = concat(["cache/deploy/"], local.champion)
      deletes = []
    }
    monitor = {
      reads   = concat(local.champion, ["served/"])
      writes  = ["cache/monitor/", "registry/retrains/"]
      deletes = []
    }
    report = {
      reads   = ["registry/ledger/"]
      writes  = []
      deletes = []
    }
  }

  # Every step reads the artifacts of the steps before it and writes its own record into the run.
  step_access = {
    for name, access in local.steps : "sightline/sightline-${name}" => {
      reads   = concat(["cache/"], access.reads)
      writes  = concat(["runs/"], access.writes)
      deletes = access.deletes
    }
  }

  # Kubeflow gives all pods of a run one account, so it can do what any step of the run can.
  run_access = {
    "sightline/sightline-run" = {
      reads   = distinct(flatten([for access in values(local.step_access) : access.reads]))
      writes  = distinct(concat(["kfp/"], flatten([for access in values(local.step_access) : access.writes])))
      deletes = distinct(flatten([for access in values(local.step_access) : access.deletes]))
    }
  }

  other_access = {
    "sightline-serving/sightline-serve" = {
      reads   = ["registry/models/"]
      writes  = ["served/"]
      deletes = []
    }
    # Kubeflow's API server and user interface show what a run left in kfp/; they run where the pipelines run.
    "sightline/ml-pipeline" = {
      reads   = ["kfp/"]
      writes  = []
      deletes = []
    }
    "sightline/ml-pipeline-ui" = {
      reads   = ["kfp/"]
      writes  = []
      deletes = []
    }
    "sightline-tracking/sightline-mlflow" = {
      reads   = []
      writes  = []
      deletes = ["mlflow/"]
    }
  }

  access = merge(local.step_access, local.run_access, local.other_access)
}
