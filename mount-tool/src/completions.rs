//! `rdmafs completions SHELL`: prints what a shell needs to complete the words of this program, from the same source as `--help`.

use crate::failure::Failure;
use crate::output;
use clap::{Command, ValueEnum};
use clap_complete::aot::{Generator, generate};

const EXAMPLES: &str = "\
Examples:
  rdmafs completions bash >/etc/bash_completion.d/rdmafs
  rdmafs completions zsh >/usr/local/share/zsh/site-functions/_rdmafs
  rdmafs completions fish >/etc/fish/completions/rdmafs.fish";

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_name = "bash|zsh|fish")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints them.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn run(args: Args, whole: Command) -> Result<(), Failure> {
    use clap_complete::aot::Shell as Known;
    output::print(&written(
        match args.shell {
            Shell::Bash => Known::Bash,
            Shell::Zsh => Known::Zsh,
            Shell::Fish => Known::Fish,
        },
        whole,
    ))
}

fn written(shell: impl Generator, mut whole: Command) -> String {
    let mut text = Vec::new();
    generate(shell, &mut whole, "rdmafs", &mut text);
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::aot::Shell as Known;

    #[test]
    fn each_shell_gets_the_subcommands_and_their_options() {
        let whole = || Command::new("rdmafs").subcommand(Command::new("stop").arg(clap::arg!(--yes)));
        for shell in [Known::Bash, Known::Zsh, Known::Fish] {
            let text = written(shell, whole());
            assert!(text.contains("stop") && text.contains("yes"), "{shell:?}: {text}");
        }
    }
}
