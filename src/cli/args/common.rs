//! Options that several tools have, written once. argh knows no shared groups, so two macros add the fields.

/// The options that every tool has.
pub(crate) trait Common {
    /// `-q`
    fn quiet(&self) -> bool;
    /// `-v`, counted
    fn verbose(&self) -> u8;
}

/// Makes the options of a tool: the fields of the struct, and behind them those of every tool.
macro_rules! tool_options {
    ($(#[$attribute:meta])* struct $name:ident { $($fields:tt)* }) => {
        #[derive(argh::FromArgs, argh::ArgsInfo, Debug)]
        $(#[$attribute])*
        #[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
        struct $name {
            $($fields)*
            /// say errors only
            #[argh(switch, short = 'q')]
            quiet: bool,
            /// say more (-vv, -vvv: much more)
            #[argh(switch, short = 'v')]
            verbose: u8,
            /// print the version
            #[argh(switch, short = 'V')]
            #[expect(dead_code, reason = "the conventions answer it before this is built")]
            version: bool,
            /// print a completion script or the manual page: bash, zsh, fish or man
            #[argh(option, arg_name = "what")]
            #[expect(dead_code, reason = "the conventions answer it before this is built")]
            generate: Option<String>,
        }

        impl $crate::cli::args::Common for $name {
            fn quiet(&self) -> bool {
                self.quiet
            }
            fn verbose(&self) -> u8 {
                self.verbose
            }
        }
    };
}

/// As `tool_options!`, for a tool that runs a stream.
macro_rules! stream_tool_options {
    ($(#[$attribute:meta])* struct $name:ident { $($fields:tt)* }) => {
        $crate::cli::args::tool_options! {
            $(#[$attribute])*
            struct $name {
                $($fields)*
                /// congestion controller: bbr, cubic, new-reno or fixed:BYTES (default: bbr)
                #[argh(option, arg_name = "name")]
                congestion: Option<$crate::cli::endpoint::Congestion>,
                /// largest packets to look for on the path (UDP; default: 1452, at most 65507)
                #[argh(option, arg_name = "bytes")]
                max_datagram: Option<$crate::cli::quantity::Datagram>,
                /// hand packets to the kernel one by one (UDP)
                #[argh(switch)]
                no_gso: bool,
                /// print the result as one JSON object on standard output, where no payload goes
                #[argh(switch)]
                json: bool,
            }
        }
    };
}

/// As `stream_tool_options!`, for a tool that speaks the classic mode too.
macro_rules! classic_tool_options {
    ($(#[$attribute:meta])* struct $name:ident { $($fields:tt)* }) => {
        $crate::cli::args::stream_tool_options! {
            $(#[$attribute])*
            struct $name {
                $($fields)*
                /// the original program's packets, for teaching and for old peers: protects nothing
                #[argh(switch)]
                classic: bool,
                /// with --classic: how packets are sent again: stop-and-wait, go-back-n or selective-repeat (the default)
                #[argh(option, arg_name = "scheme")]
                arq: Option<$crate::classic::Scheme>,
                /// with --classic: most packets under way (default: 10, the largest; stop-and-wait: 1)
                #[argh(option, arg_name = "n")]
                window: Option<$crate::cli::classic::Window>,
                /// with --classic: silence after which packets are sent again (default: 2s)
                #[argh(option, arg_name = "time")]
                timeout: Option<$crate::cli::quantity::Span>,
            }
        }
    };
}

pub(crate) use classic_tool_options;
pub(crate) use stream_tool_options;
pub(crate) use tool_options;
