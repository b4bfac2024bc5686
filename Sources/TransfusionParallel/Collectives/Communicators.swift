internal import TransfusionCore

/// The best collectives for the ranks of an MPI communicator.
enum Communicators {
    /// Shared memory if all ranks are on one host; shared memory and MPI if each host has equally many ranks, in
    /// consecutive order; else MPI alone. All ranks of `flat` call it, and all choose the same.
    static func make(over flat: MPICollectives) throws -> (group: any Communicator, transport: String) {
        guard flat.size > 1 else { return (SingleRank(), "one process") }
        let host = try flat.ranksOfThisHost()
        // The first rank of a host is the host's name here.
        let firstRanks = try host.gatherNumbers([flat.rank], site: "hosts").map { $0[0] }
        let hosts = try flat.gatherNumbers([firstRanks.min() ?? flat.rank], site: "hosts").map { $0[0] }
        let perHost = host.size
        flat.hosts = hosts.map { first in Set(hosts).count { $0 < first } }
        let isRegular = hosts.indices.allSatisfy { hosts[$0] == $0 / perHost * perHost }
        // Each rank sees its own host only: all have to agree.
        let agreed = try flat.gatherNumbers([isRegular && perHost > 1 ? perHost : 0], site: "hosts")
        guard perHost > 1, agreed.allSatisfy({ $0[0] == perHost }) else {
            return (flat, "MPI between \(flat.size) ranks on \(Set(hosts).count) hosts")
        }
        let inside = try sharedMemory(host, name: perHost == flat.size ? flat.name : "host")
        guard perHost < flat.size else { return (inside, "shared memory between \(perHost) ranks of one host") }
        let across = try flat.flatSplit(color: flat.rank % perHost, key: flat.rank, name: "across hosts")
        return (
            HierarchicalCollectives(flat: flat, inside: inside, across: across),
            "shared memory between \(perHost) ranks of each host, MPI between \(across.size) hosts"
        )
    }

    private static func sharedMemory(_ host: MPICollectives, name: String) throws -> SharedMemoryCollectives {
        let roundsBytes = SharedRounds.byteCount(ranks: host.size)
        let region = try SharedRegion.make(byteCount: roundsBytes + AbandonFlag.byteCount, leader: 0, through: host)
        let rounds = SharedRounds(
            region: region, rank: host.rank, size: host.size, world: AbandonFlag(region: region, offset: roundsBytes),
            timeout: nil)
        return SharedMemoryCollectives(rounds: rounds, name: name, watch: host.watch)
    }
}
