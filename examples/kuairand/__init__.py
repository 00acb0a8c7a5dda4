"""Ten tasks on KuaiRand: see README.md."""
