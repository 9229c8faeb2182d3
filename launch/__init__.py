"""Launch scripts: absl flags, then one call into mskjax. Exit status: 0 done, 1 some cases failed, 2 cannot run."""
