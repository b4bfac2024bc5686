internal import Glibc
internal import TransfusionCore

/// Collectives of ranks that share memory: processes of one host, or threads of one process.
///
/// Everything is made of *rounds*. In a round each rank writes into its own staging memory, says that it has arrived,
/// waits until all have arrived, and reads what the others wrote. Staging memory is doubled: a rank that writes for
/// round k has seen all ranks arrive at round k − 1, so they have finished reading round k − 2. Large buffers go
/// through in chunks that stay in the processor's cache; sums are formed straight from the neighbours' memory.
final class SharedMemoryCollectives: PieceCollectives {
    let rank: Int
    let size: Int
    let name: String
    let watch: CollectiveWatch
    let hosts: [Int]
    private let rounds: SharedRounds
    private var sharedBuffers: [WeakReference] = []

    private struct WeakReference {
        weak var buffer: SharedBuffer?
    }

    /// - Parameter rounds: the rendezvous of this group, as seen by this rank.
    init(rounds: SharedRounds, name: String, watch: CollectiveWatch) {
        self.rounds = rounds
        rank = rounds.rank
        size = rounds.size
        hosts = [Int](repeating: 0, count: rounds.size)
        self.name = name
        self.watch = watch
    }

    func split(color: Int, key: Int, name: String) throws -> any Communicator {
        let offers = try gatherNumbers([color, key], site: "split")
        let members = (0..<size).filter { offers[$0][0] == color }.sorted { (offers[$0][1], $0) < (offers[$1][1], $1) }
        let byteCount = members.count > 1 ? SharedRounds.byteCount(ranks: members.count) : SharedRegion.pageSize
        let region = try SharedRegion.make(byteCount: byteCount, leader: members[0], through: self)
        guard members.count > 1, let place = members.firstIndex(of: rank) else { return SingleRank() }
        let rounds = SharedRounds(
            region: region, rank: place, size: members.count, world: self.rounds.world, timeout: self.rounds.timeout)
        return SharedMemoryCollectives(rounds: rounds, name: name, watch: watch)
    }

    func allocateShared(byteCount: Int) throws -> SharedBuffer {
        let stride = (byteCount + SharedRegion.pageSize - 1) / SharedRegion.pageSize * SharedRegion.pageSize
        let total = max(stride, SharedRegion.pageSize) * size
        let region = try SharedRegion.make(byteCount: total, leader: 0, through: self)
        let buffer = SharedBuffer(region: region, rank: rank, partStride: stride, byteCount: byteCount)
        sharedBuffers.removeAll { $0.buffer == nil }
        sharedBuffers.append(WeakReference(buffer: buffer))
        return buffer
    }

    /// Makes every rank that waits, now or later, throw: this rank will not come any more.
    func abandon(_ message: String) {
        rounds.world.abandon(rank: rank, message: message)
    }

    func synchronize(site: StaticString) throws {
        try call("barrier", 0, site) { try $0.round() }
    }

    func allReduce(_ values: UnsafeMutableRawBufferPointer, _ reduction: Reduction, site: StaticString) throws {
        guard let start = values.baseAddress, values.count > 0 else { return }
        if values.count <= Self.smallBytes {
            try call("all-reduce", values.count, site) { rounds in
                try rounds.round {
                    $0.copyMemory(from: start, byteCount: values.count)
                } read: { staging in
                    reduction.combine(staging.map { UnsafeRawPointer($0) }, into: start, byteCount: values.count)
                }
            }
        } else if let parts = sharedParts(of: values) {
            try call("all-reduce of shared memory", values.count, site) { rounds in
                try rounds.round()
                allReduceShared(parts, evenPieces(values.count)[rank], reduction)
                try rounds.round()
            }
        } else {
            try call("all-reduce", values.count, site) {
                try allReduceStaged(start, evenPieces(values.count), reduction, $0)
            }
        }
    }

    func reduceScatter(
        _ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], _ reduction: Reduction, site: StaticString
    ) throws {
        guard let start = values.baseAddress, values.count > 0 else { return }
        let own = pieces[rank]
        if let parts = sharedParts(of: values) {
            try call("reduce-scatter of shared memory", values.count, site) { rounds in
                try rounds.round()
                let inputs = parts.map { UnsafeRawPointer($0 + own.lowerBound) }
                reduction.combine(inputs, into: start + own.lowerBound, byteCount: own.count)
                // Nobody may change its buffer while another still reads it.
                try rounds.round()
            }
            return
        }
        // Staging: one slot for each rank's piece; this rank's own slot stays empty.
        let slot = ExchangeSizes.stagingBytes / size & ~63
        try call("reduce-scatter", values.count, site) { rounds in
            for index in 0..<max(1, pieces.chunkCount(of: slot)) {
                try rounds.round { staging in
                    for other in 0..<size where other != rank {
                        let chunk = pieces[other].chunk(index, of: slot)
                        (staging + other * slot).copyMemory(from: start + chunk.lowerBound, byteCount: chunk.count)
                    }
                } read: { staging in
                    let chunk = own.chunk(index, of: slot)
                    let inputs = contributions(staging, rank * slot, own: start + chunk.lowerBound)
                    reduction.combine(inputs, into: start + chunk.lowerBound, byteCount: chunk.count)
                }
            }
        }
    }

    func allGather(_ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], site: StaticString) throws {
        guard let start = values.baseAddress, values.count > 0 else { return }
        if let parts = sharedParts(of: values) {
            try call("all-gather of shared memory", values.count, site) { rounds in
                try rounds.round()
                for other in 0..<size where other != rank {
                    let piece = pieces[other]
                    (start + piece.lowerBound).copyMemory(from: parts[other] + piece.lowerBound, byteCount: piece.count)
                }
                try rounds.round()
            }
            return
        }
        let length = ExchangeSizes.stagingBytes
        try call("all-gather", values.count, site) { rounds in
            for index in 0..<max(1, pieces.chunkCount(of: length)) {
                try rounds.round { staging in
                    let chunk = pieces[rank].chunk(index, of: length)
                    staging.copyMemory(from: start + chunk.lowerBound, byteCount: chunk.count)
                } read: { staging in
                    for other in 0..<size where other != rank {
                        let chunk = pieces[other].chunk(index, of: length)
                        (start + chunk.lowerBound).copyMemory(from: staging[other], byteCount: chunk.count)
                    }
                }
            }
        }
    }

    /// Up to here every rank sums the whole vector itself: one round instead of two.
    private static let smallBytes = 16 << 10
    /// What a pass over shared memory handles at a time, so that a sum is still in the cache when it is copied on.
    private static let blockBytes = 64 << 10

    /// Reduces chunk k of each piece while chunk k − 1 of the sums goes out, so a chunk costs one round.
    private func allReduceStaged(
        _ start: UnsafeMutableRawPointer, _ pieces: [Range<Int>], _ reduction: Reduction, _ rounds: SharedRounds
    ) throws {
        // Staging: one slot for each rank's piece, then one for the sum that this rank gives out.
        let slot = ExchangeSizes.stagingBytes / (size + 1) & ~63
        let chunks = pieces.chunkCount(of: slot)
        for index in 0...chunks {
            try rounds.round { staging in
                for other in 0..<size where other != rank {
                    let chunk = pieces[other].chunk(index, of: slot)
                    (staging + other * slot).copyMemory(from: start + chunk.lowerBound, byteCount: chunk.count)
                }
                if index > 0 {
                    let sum = pieces[rank].chunk(index - 1, of: slot)
                    (staging + size * slot).copyMemory(from: start + sum.lowerBound, byteCount: sum.count)
                }
            } read: { staging in
                let chunk = pieces[rank].chunk(index, of: slot)
                let inputs = contributions(staging, rank * slot, own: start + chunk.lowerBound)
                reduction.combine(inputs, into: start + chunk.lowerBound, byteCount: chunk.count)
                guard index > 0 else { return }
                for other in 0..<size where other != rank {
                    let sum = pieces[other].chunk(index - 1, of: slot)
                    (start + sum.lowerBound).copyMemory(from: staging[other] + size * slot, byteCount: sum.count)
                }
            }
        }
    }

    /// Sums this rank's piece of all parts and writes the sum into all parts.
    private func allReduceShared(_ parts: [UnsafeMutableRawPointer], _ piece: Range<Int>, _ reduction: Reduction) {
        for index in 0..<(piece.count + Self.blockBytes - 1) / Self.blockBytes {
            let block = piece.chunk(index, of: Self.blockBytes)
            let places = parts.map { $0 + block.lowerBound }
            reduction.combine(places.map { UnsafeRawPointer($0) }, into: places[rank], byteCount: block.count)
            for other in 0..<size where other != rank {
                places[other].copyMemory(from: places[rank], byteCount: block.count)
            }
        }
    }

    /// One input for each rank, in rank order: the others' staging memory at `offset`, and this rank's own values.
    private func contributions(
        _ staging: [UnsafeMutableRawPointer], _ offset: Int, own: UnsafeMutableRawPointer
    ) -> [UnsafeRawPointer] {
        (0..<size).map { UnsafeRawPointer($0 == rank ? own : staging[$0] + offset) }
    }

    /// The same values of all ranks, if they lie in shared memory of this group.
    private func sharedParts(of values: UnsafeMutableRawBufferPointer) -> [UnsafeMutableRawPointer]? {
        for reference in sharedBuffers {
            guard let buffer = reference.buffer, let offset = buffer.offset(of: values) else { continue }
            let parts = (0..<size).compactMap { buffer.part(of: $0) }
            return parts.count == size ? parts.map { $0 + offset } : nil
        }
        return nil
    }

    private func call(
        _ operation: String, _ byteCount: Int, _ site: StaticString, _ body: (SharedRounds) throws -> Void
    ) throws {
        do {
            rounds.beginCall("'\(site)' (\(operation), \(byteCount) bytes)")
            try body(rounds)
        } catch let problem as SharedRounds.Problem {
            throw failure(problem.reason, site: site)
        }
    }
}
