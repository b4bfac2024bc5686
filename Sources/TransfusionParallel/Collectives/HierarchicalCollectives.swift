internal import TransfusionCore

/// Collectives of ranks on several hosts, equally many on each: shared memory inside a host, MPI between hosts.
///
/// Rank r is rank `r % ranksPerHost` of host `r / ranksPerHost`. Between hosts each rank of a host exchanges its part
/// only, so every byte leaves a host once. Sums run over the ranks of a host first and then over the hosts: with a
/// power of two of ranks on each host that is the same binary tree as over all ranks at once.
final class HierarchicalCollectives: PieceCollectives {
    let rank: Int
    let size: Int
    let name: String
    let watch: CollectiveWatch
    let hosts: [Int]
    private let flat: MPICollectives
    /// The ranks of this host.
    private let inside: SharedMemoryCollectives
    /// The ranks of all hosts with this rank's number inside the host.
    private let across: MPICollectives

    init(flat: MPICollectives, inside: SharedMemoryCollectives, across: MPICollectives) {
        precondition(inside.size * across.size == flat.size)
        self.flat = flat
        self.inside = inside
        self.across = across
        rank = flat.rank
        size = flat.size
        name = flat.name
        watch = flat.watch
        let ranksPerHost = inside.size
        hosts = (0..<flat.size).map { $0 / ranksPerHost }
    }

    func split(color: Int, key: Int, name: String) throws -> any Communicator {
        try flat.split(color: color, key: key, name: name)
    }

    func allocateShared(byteCount: Int) throws -> SharedBuffer {
        try inside.allocateShared(byteCount: byteCount)
    }

    func synchronize(site: StaticString) throws {
        try inside.synchronize(site: site)
        try across.synchronize(site: site)
    }

    func allReduce(_ values: UnsafeMutableRawBufferPointer, _ reduction: Reduction, site: StaticString) throws {
        guard values.count > Self.smallBytes else {
            try inside.allReduce(values, reduction, site: site)
            try across.allReduce(values, reduction, site: site)
            return
        }
        let pieces = inside.evenPieces(values.count)
        try inside.reduceScatter(values, pieces: pieces, reduction, site: site)
        try across.allReduce(
            UnsafeMutableRawBufferPointer(rebasing: values[pieces[inside.rank]]), reduction, site: site)
        try inside.allGather(values, pieces: pieces, site: site)
    }

    func reduceScatter(
        _ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], _ reduction: Reduction, site: StaticString
    ) throws {
        for host in 0..<across.size {
            try inside.reduceScatter(values, pieces: piecesOf(host, pieces), reduction, site: site)
        }
        try across.reduceScatter(values, pieces: piecesLikeMine(pieces), reduction, site: site)
    }

    func allGather(_ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], site: StaticString) throws {
        try across.allGather(values, pieces: piecesLikeMine(pieces), site: site)
        for host in 0..<across.size {
            try inside.allGather(values, pieces: piecesOf(host, pieces), site: site)
        }
    }

    /// Up to here a message costs its latency only, so that two steps are better than three.
    private static let smallBytes = 64 << 10

    private func piecesOf(_ host: Int, _ pieces: [Range<Int>]) -> [Range<Int>] {
        Array(pieces[host * inside.size..<(host + 1) * inside.size])
    }

    private func piecesLikeMine(_ pieces: [Range<Int>]) -> [Range<Int>] {
        (0..<across.size).map { pieces[$0 * inside.size + inside.rank] }
    }
}
