internal import CMPI
internal import TransfusionCore

/// Collectives over MPI messages, for ranks on different hosts.
///
/// Large buffers go pairwise: in step s each rank sends to rank + s and receives from rank − s, so that every byte
/// crosses the network once and each rank can add up what it receives in one fixed order. (MPI's own reductions choose
/// their order by message size, and Open MPI 4.1's MPI_Reduce_scatter_block is linear for large buffers.) A message
/// never has more than 1 GiB, below MPI's limit of 2³¹ − 1 elements.
///
/// Calls block, and two threads may call on two groups at once; MPI has to provide MPI_THREAD_MULTIPLE.
final class MPICollectives: PieceCollectives {
    let rank: Int
    let size: Int
    let name: String
    let watch: CollectiveWatch
    /// Set by `Communicators.make`; until then every rank counts as a host of its own.
    var hosts: [Int]
    let communicator: MPI_Comm
    private let isWorld: Bool
    /// How many consecutive ranks of the world count as a host; nil if MPI decides.
    private let ranksPerHost: Int?
    private var received = [UInt8]()

    /// Up to this size every rank gathers all values and adds them itself.
    private static let smallBytes = 16 << 10

    static func world(ranksPerHost: Int?, watch: CollectiveWatch) -> MPICollectives {
        MPICollectives(
            communicator: tf_mpi_comm_world(), name: "world", watch: watch, isWorld: true, ranksPerHost: ranksPerHost)
    }

    private init(
        communicator: MPI_Comm, name: String, watch: CollectiveWatch, isWorld: Bool, ranksPerHost: Int?
    ) {
        self.communicator = communicator
        self.name = name
        self.watch = watch
        self.isWorld = isWorld
        self.ranksPerHost = ranksPerHost
        var number: Int32 = 0
        var count: Int32 = 0
        // Without this MPI ends the program at the first problem, without a word about which call it was.
        MPI_Comm_set_errhandler(communicator, tf_mpi_errors_return())
        MPI_Comm_rank(communicator, &number)
        MPI_Comm_size(communicator, &count)
        rank = Int(number)
        size = Int(count)
        hosts = Array(0..<size)
    }

    deinit {
        var finalized: Int32 = 0
        MPI_Finalized(&finalized)
        guard !isWorld, finalized == 0 else { return }
        var handle: MPI_Comm? = communicator
        MPI_Comm_free(&handle)
    }

    /// The ranks with the same `color`, without a look at which hosts they are on.
    func flatSplit(color: Int, key: Int, name: String) throws -> MPICollectives {
        var new: MPI_Comm?
        try check(MPI_Comm_split(communicator, Int32(color), Int32(key), &new), "split")
        return try wrapping(new, name: name)
    }

    /// The ranks of this rank's host.
    func ranksOfThisHost() throws -> MPICollectives {
        var new: MPI_Comm?
        if let ranksPerHost {
            var worldRank: Int32 = 0
            MPI_Comm_rank(tf_mpi_comm_world(), &worldRank)
            let host = Int32(Int(worldRank) / ranksPerHost)
            try check(MPI_Comm_split(communicator, host, Int32(rank), &new), "split by host")
        } else {
            let status = MPI_Comm_split_type(
                communicator, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), tf_mpi_info_null(), &new)
            try check(status, "split by host")
        }
        return try wrapping(new, name: "host")
    }

    private func wrapping(_ new: MPI_Comm?, name: String) throws -> MPICollectives {
        guard let new else { throw failure(.system("MPI made no communicator"), site: "split") }
        return MPICollectives(
            communicator: new, name: name, watch: watch, isWorld: false, ranksPerHost: ranksPerHost)
    }

    func split(color: Int, key: Int, name: String) throws -> any Communicator {
        try Communicators.make(over: flatSplit(color: color, key: key, name: name)).group
    }

    func allocateShared(byteCount: Int) -> SharedBuffer {
        SharedBuffer(privateBytes: byteCount)
    }

    func synchronize(site: StaticString) throws {
        try check(MPI_Barrier(communicator), site)
    }

    func allReduce(_ values: UnsafeMutableRawBufferPointer, _ reduction: Reduction, site: StaticString) throws {
        guard let start = values.baseAddress, values.count > 0, size > 1 else { return }
        if values.count <= Self.smallBytes {
            try withReceived(bytes: size * values.count) { all in
                let count = Int32(values.count)
                try check(
                    MPI_Allgather(start, count, tf_mpi_byte(), all, count, tf_mpi_byte(), communicator), site)
                let inputs = (0..<size).map { UnsafeRawPointer(all + $0 * values.count) }
                reduction.combine(inputs, into: start, byteCount: values.count)
            }
        } else {
            let pieces = evenPieces(values.count)
            try reduceScatter(values, pieces: pieces, reduction, site: site)
            try allGather(values, pieces: pieces, site: site)
        }
    }

    func reduceScatter(
        _ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], _ reduction: Reduction, site: StaticString
    ) throws {
        guard let start = values.baseAddress, values.count > 0, size > 1 else { return }
        let own = pieces[rank]
        let chunkBytes = ExchangeSizes.messageBytes(hosts: size)
        try withReceived(bytes: size * chunkBytes) { received in
            for index in 0..<pieces.chunkCount(of: chunkBytes) {
                let mine = own.chunk(index, of: chunkBytes)
                for (to, from) in partners {
                    let theirs = pieces[to].chunk(index, of: chunkBytes)
                    try exchange(
                        start + theirs.lowerBound, theirs.count, to: to, received + from * chunkBytes, mine.count,
                        from: from, site)
                }
                let sum = start + mine.lowerBound
                let inputs = (0..<size).map { UnsafeRawPointer($0 == rank ? sum : received + $0 * chunkBytes) }
                reduction.combine(inputs, into: sum, byteCount: mine.count)
            }
        }
    }

    func allGather(_ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], site: StaticString) throws {
        guard let start = values.baseAddress, values.count > 0, size > 1 else { return }
        // Nothing is added here, so messages may be as long as MPI allows.
        let limit = 1 << 30
        for index in 0..<pieces.chunkCount(of: limit) {
            for (to, from) in partners {
                let mine = pieces[rank].chunk(index, of: limit)
                let theirs = pieces[from].chunk(index, of: limit)
                try exchange(
                    start + mine.lowerBound, mine.count, to: to, start + theirs.lowerBound, theirs.count, from: from,
                    site)
            }
        }
    }

    /// Whom to send to and to receive from, step by step.
    private var partners: [(to: Int, from: Int)] {
        (1..<size).map { ((rank + $0) % size, (rank - $0 + size) % size) }
    }

    private func exchange(
        _ sent: UnsafeRawPointer, _ sentBytes: Int, to: Int, _ place: UnsafeMutableRawPointer, _ placeBytes: Int,
        from: Int, _ site: StaticString
    ) throws {
        let status = MPI_Sendrecv(
            sent, Int32(sentBytes), tf_mpi_byte(), Int32(to), 0, place, Int32(placeBytes), tf_mpi_byte(), Int32(from),
            0, communicator, tf_mpi_status_ignore())
        try check(status, site)
    }

    private func withReceived(bytes: Int, _ body: (UnsafeMutableRawPointer) throws -> Void) throws {
        if received.count < bytes { received = [UInt8](repeating: 0, count: bytes) }
        try received.withUnsafeMutableBytes { buffer in
            if let start = buffer.baseAddress { try body(start) }
        }
    }

    private func check(_ status: Int32, _ site: StaticString) throws {
        guard status != MPI_SUCCESS else { return }
        var text = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING) + 1)
        var length: Int32 = 0
        MPI_Error_string(status, &text, &length)
        let message = String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        throw failure(.system("MPI: \(message)"), site: site)
    }
}
