//! How many clients an edge takes: no more than its process may open files for.

/// Files for all that is no client: links, the admin server, the shard map, keys, logs.
const RESERVE: u64 = 512;

/// How many of the connections that are `wanted` fit into this limit of open files; says so
/// where those are fewer.
pub(crate) fn fit(wanted: u32, files: Option<u64>) -> u32 {
    let taken = fitting(wanted, files);
    if taken < wanted {
        tracing::warn!(
            limit = files,
            wanted,
            taken,
            "the limit of open files is too low for --max-connections, further connections \
             wait: raise its hard limit to {} (`ulimit -H -n`; LimitNOFILE of the service, \
             or of the container runtime), or lower --max-connections",
            u64::from(wanted) + RESERVE
        );
    }
    taken
}

/// Of a limit that is not twice the reserve, half.
fn fitting(wanted: u32, files: Option<u64>) -> u32 {
    let room = files.map(|files| files - RESERVE.min(files / 2));
    let room = room.and_then(|room| u32::try_from(room).ok());
    room.map_or(wanted, |room| wanted.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_clients_fit() {
        for (wanted, files, taken) in [
            (20_000, Some(524_288), 20_000),
            (20_000, Some(20_512), 20_000),
            (20_000, Some(20_511), 19_999),
            (20_000, Some(1_024), 512),
            (20_000, Some(96), 48),
            (100, Some(1_024), 100),
            (u32::MAX, Some(u64::MAX), u32::MAX),
            (20_000, None, 20_000),
        ] {
            assert_eq!(fit(wanted, files), taken, "{wanted} of {files:?}");
        }
    }

    #[test]
    fn each_limit_leaves_clients_and_all_else_their_part() {
        for files in 1..4 * RESERVE {
            let taken = u64::from(fitting(u32::MAX, Some(files)));
            let left = files - taken;
            assert!(taken > 0 && left <= RESERVE, "{files}");
            assert!(left == RESERVE || left == files / 2, "{files}");
        }
    }
}
