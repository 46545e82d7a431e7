//! What a refused command says about the kernel or the tool.

/// Why a command can't work on this machine at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A kernel configuration option, or version.
    Kernel(&'static str),
    /// Release of iproute2 that first knows the command.
    Iproute2(&'static str),
}

/// Reads a command and the tool's answer to it.
pub(crate) fn missing(command: &str, message: &str) -> Option<Missing> {
    let said = |words: &[&str]| words.iter().any(|w| message.contains(w));
    let has = |word: &str| command.contains(word);
    if said(&["Unknown device type"]) {
        return if has("type veth") {
            Some(Missing::Kernel("CONFIG_VETH"))
        } else if has("type bridge") {
            Some(Missing::Kernel("CONFIG_BRIDGE"))
        } else {
            None
        };
    }
    if has("seg6local") && said(&["Operation not supported", "encapsulation type not supported"]) {
        return Some(Missing::Kernel("CONFIG_IPV6_SEG6_LWTUNNEL"));
    }
    if has("next-csid") && said(&["Invalid argument", "attribute"]) && !said(&["is wrong"]) {
        return Some(Missing::Kernel("NEXT-CSID (Linux 6.1 or later)"));
    }
    if has("next-csid") && said(&["is wrong", "garbage", "unknown"]) {
        return Some(Missing::Iproute2("6.1"));
    }
    if has("tbf") && said(&["qdisc kind is unknown"]) {
        return Some(Missing::Kernel("CONFIG_NET_SCH_TBF"));
    }
    if has("add table netdev") && said(&["Operation not supported"]) {
        return Some(Missing::Kernel("CONFIG_NF_TABLES_NETDEV"));
    }
    if has("numgen") && said(&["No such file or directory", "Operation not supported"]) {
        return Some(Missing::Kernel("CONFIG_NFT_NUMGEN"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers recorded from iproute2 6.1 on kernels with and without the option.
    #[test]
    fn answers_name_the_option() {
        let end = "route replace fc00:0:1200::/48 encap seg6local action End flavors next-csid lblen 32 nflen 16 dev sr0";
        for (command, message, want) in [
            ("link add a type veth peer name b", "Error: Unknown device type.", Some("CONFIG_VETH")),
            ("link add name br0 type bridge", "Error: Unknown device type.", Some("CONFIG_BRIDGE")),
            (end, "Error: lwt encapsulation type not supported.", Some("CONFIG_IPV6_SEG6_LWTUNNEL")),
            (end, "RTNETLINK answers: Operation not supported", Some("CONFIG_IPV6_SEG6_LWTUNNEL")),
            (end, "RTNETLINK answers: Invalid argument", Some("NEXT-CSID (Linux 6.1 or later)")),
            (
                "qdisc replace dev a root tbf",
                "Error: Specified qdisc kind is unknown.",
                Some("CONFIG_NET_SCH_TBF"),
            ),
            (
                "nft -f: add table netdev loss_1000",
                "Error: Could not process rule: Operation not supported",
                Some("CONFIG_NF_TABLES_NETDEV"),
            ),
            (
                "nft -f: add rule netdev loss_1000 arrive numgen random mod 10000 < 5 drop",
                "Error: Could not process rule: No such file or directory",
                Some("CONFIG_NFT_NUMGEN"),
            ),
            (end, "Cannot find device \"sr0\"", None),
            ("route replace 10.0.0.0/8 dev a", "RTNETLINK answers: Invalid argument", None),
        ] {
            assert_eq!(missing(command, message), want.map(Missing::Kernel), "{command}: {message}");
        }
        let old = "Error: argument \"next-csid\" is wrong: invalid \"flavors\" attribute";
        assert_eq!(missing(end, old), Some(Missing::Iproute2("6.1")));
    }
}
