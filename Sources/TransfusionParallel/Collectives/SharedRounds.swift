internal import CKernels
internal import Glibc
internal import TransfusionCore

/// The rendezvous of `SharedMemoryCollectives`: staging memory and a counter of rounds for each rank.
///
/// Memory of a group: for each rank a page (counter, and what it calls in even and odd rounds), then for each rank the
/// staging memory of even and odd rounds.
final class SharedRounds {
    struct Problem: Error {
        let reason: CollectiveError.Reason
    }

    let rank: Int
    let size: Int
    let world: AbandonFlag
    /// How long a rank waits for another before it throws; for ever if nil.
    let timeout: Duration?
    private let region: SharedRegion
    private var roundNumber: UInt64 = 0
    private var call = CallDescription()
    private var callIsNew = false

    static func byteCount(ranks: Int) -> Int {
        ranks * (SharedRegion.pageSize + 2 * ExchangeSizes.stagingBytes)
    }

    init(region: SharedRegion, rank: Int, size: Int, world: AbandonFlag, timeout: Duration?) {
        precondition(region.byteCount >= Self.byteCount(ranks: size))
        self.region = region
        self.rank = rank
        self.size = size
        self.world = world
        self.timeout = timeout
    }

    /// Says what the following rounds are for. The next round checks that all ranks say the same.
    func beginCall(_ description: String) {
        call = CallDescription(description)
        callIsNew = true
    }

    /// Writes, waits for all, reads.
    /// - Parameters:
    ///   - write: fills this rank's staging memory.
    ///   - read: gets the staging memory of all ranks, in rank order. It must not write there.
    func round(
        write: (UnsafeMutableRawPointer) -> Void = { _ in }, read: ([UnsafeMutableRawPointer]) -> Void = { _ in }
    ) throws(Problem) {
        roundNumber += 1
        let parity = Int(roundNumber & 1)
        write(staging(of: rank, parity))
        descriptions(of: rank)[parity] = call
        tf_counter_publish(counter(of: rank), roundNumber)
        for other in 0..<size where other != rank {
            try waitForArrival(of: other)
            if callIsNew, descriptions(of: other)[parity] != call {
                throw Problem(
                    reason: .mismatch(
                        rank: other, there: descriptions(of: other)[parity].text, here: call.text))
            }
        }
        callIsNew = false
        read((0..<size).map { staging(of: $0, parity) })
    }

    private func waitForArrival(of other: Int) throws(Problem) {
        let counter = counter(of: other)
        var patience = Patience(sharers: size)
        while tf_counter_read(counter) < roundNumber {
            guard patience.waitALittle() else { continue }
            if let (byRank, message) = world.abandoned {
                throw Problem(reason: .abandoned(byRank: byRank, message: message))
            }
            if let timeout, patience.elapsed > timeout {
                let last = descriptions(of: other)[Int(tf_counter_read(counter) & 1)]
                throw Problem(
                    reason: .timedOut(waitingFor: other, seconds: timeout.seconds, lastSite: last.text))
            }
        }
    }

    private func page(of rank: Int) -> UnsafeMutableRawPointer {
        region.address + rank * SharedRegion.pageSize
    }

    private func counter(of rank: Int) -> UnsafeMutablePointer<UInt64> {
        page(of: rank).assumingMemoryBound(to: UInt64.self)
    }

    private func descriptions(of rank: Int) -> UnsafeMutablePointer<CallDescription> {
        (page(of: rank) + 64).assumingMemoryBound(to: CallDescription.self)
    }

    private func staging(of rank: Int, _ parity: Int) -> UnsafeMutableRawPointer {
        region.address + size * SharedRegion.pageSize + (2 * rank + parity) * ExchangeSizes.stagingBytes
    }
}

/// What a rank calls, in a form that can lie in shared memory: up to 127 bytes of text.
private struct CallDescription: Equatable {
    private var words: InlineArray<16, UInt64> = .init(repeating: 0)

    init() {}

    init(_ text: String) {
        for (index, byte) in text.utf8.prefix(127).enumerated() {
            words[index / 8] |= UInt64(byte) << (8 * UInt64(index % 8))
        }
    }

    var text: String {
        let bytes = (0..<128).map { UInt8(truncatingIfNeeded: words[$0 / 8] >> (8 * UInt64($0 % 8))) }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    static func == (a: CallDescription, b: CallDescription) -> Bool {
        (0..<16).allSatisfy { a.words[$0] == b.words[$0] }
    }
}

/// How a rank waits: first it spins, because the others are usually there within microseconds; then it lets others
/// run; then it sleeps, so that a long wait costs nothing.
private struct Patience {
    private var turns = 0
    private let spins: Int
    private let start = ContinuousClock.now

    /// - Parameter sharers: how many ranks may wait on this machine at once.
    init(sharers: Int) {
        spins = sharers <= Self.processors ? 2000 : 20
    }

    var elapsed: Duration { start.duration(to: .now) }

    /// Waits a moment. True now and then, when it is time to look whether waiting still makes sense.
    mutating func waitALittle() -> Bool {
        turns += 1
        if turns < spins {
            tf_pause()
            return false
        }
        if turns < spins + 200 {
            sched_yield()
            return turns == spins
        }
        usleep(turns < spins + 1000 ? 50 : 500)
        return true
    }

    private static let processors = ThreadPool.availableCPUCount
}
