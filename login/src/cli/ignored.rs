//! Flags that kubelogin takes and that change nothing here, so that a kubeconfig which names them keeps working.

use clap::Args;

/// klog's flags, and TLS renegotiation, which TLS 1.3 and this program's TLS library do not have.
#[derive(Debug, Clone, Default, Args)]
pub struct IgnoredFlags {
    #[arg(long = "tls-renegotiation-once", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_renegotiation_once: Option<String>,
    #[arg(long = "tls-renegotiation-freely", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_renegotiation_freely: Option<String>,
    #[arg(long = "add_dir_header", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    add_dir_header: Option<String>,
    #[arg(long = "alsologtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    alsologtostderr: Option<String>,
    #[arg(long = "logtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    logtostderr: Option<String>,
    #[arg(long = "one_output", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    one_output: Option<String>,
    #[arg(long = "skip_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_headers: Option<String>,
    #[arg(long = "skip_log_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_log_headers: Option<String>,
    #[arg(long = "log_backtrace_at", hide = true)]
    log_backtrace_at: Option<String>,
    #[arg(long = "log_dir", hide = true)]
    log_dir: Option<String>,
    #[arg(long = "log_file", hide = true)]
    log_file: Option<String>,
    #[arg(long = "log_file_max_size", hide = true)]
    log_file_max_size: Option<String>,
    #[arg(long = "stderrthreshold", hide = true)]
    stderrthreshold: Option<String>,
    #[arg(long = "vmodule", hide = true)]
    vmodule: Option<String>,
}

impl IgnoredFlags {
    /// Names of those that were given, to tell the person.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        [
            ("--tls-renegotiation-once", &self.tls_renegotiation_once),
            ("--tls-renegotiation-freely", &self.tls_renegotiation_freely),
            ("--add_dir_header", &self.add_dir_header),
            ("--alsologtostderr", &self.alsologtostderr),
            ("--logtostderr", &self.logtostderr),
            ("--one_output", &self.one_output),
            ("--skip_headers", &self.skip_headers),
            ("--skip_log_headers", &self.skip_log_headers),
            ("--log_backtrace_at", &self.log_backtrace_at),
            ("--log_dir", &self.log_dir),
            ("--log_file", &self.log_file),
            ("--log_file_max_size", &self.log_file_max_size),
            ("--stderrthreshold", &self.stderrthreshold),
            ("--vmodule", &self.vmodule),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|_| name))
        .collect()
    }
}
