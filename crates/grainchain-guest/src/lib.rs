//! How things run on Unix: commands, process trees, files, watches and code contexts for Grainchain
