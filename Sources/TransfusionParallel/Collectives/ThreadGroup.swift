internal import Glibc
import Synchronization
internal import TransfusionCore

/// Ranks that are threads of this process, so that everything parallel runs without MPI, as in tests.
///
/// They use the same collectives as the processes of one host.
public enum ThreadGroup {
    /// Runs `body` once for each rank, each on a thread of its own, and returns the results in rank order.
    ///
    /// A rank that throws releases the others with an error; the first rank's error is thrown here.
    /// - Parameter timeout: how long a rank waits for another in a collective before it throws.
    public static func run<Result: Sendable>(
        ranks: Int, timeout: Duration? = .seconds(60), _ body: @escaping @Sendable (any Communicator) throws -> Result
    ) throws -> [Result] {
        precondition(ranks > 0, "a group needs at least one rank")
        let roundsBytes = SharedRounds.byteCount(ranks: ranks)
        let region = try SharedRegion(byteCount: roundsBytes + AbandonFlag.byteCount)
        let outcomes = Mutex<[Int: Swift.Result<Result, any Error>]>([:])
        let firstFailure = Mutex<(any Error)?>(nil)

        let work: @Sendable (Int) -> Void = { rank in
            let world = AbandonFlag(region: region, offset: roundsBytes)
            let rounds = SharedRounds(region: region, rank: rank, size: ranks, world: world, timeout: timeout)
            let group = SharedMemoryCollectives(rounds: rounds, name: "world", watch: CollectiveWatch())
            let outcome = Swift.Result { try body(group) }
            if case .failure(let error) = outcome {
                firstFailure.withLock { $0 = $0 ?? error }
                group.abandon("\(error)")
            }
            outcomes.withLock { $0[rank] = outcome }
        }
        let threads = (0..<ranks).map { rank in RankThread { work(rank) } }
        for thread in threads { thread.join() }

        if let error = firstFailure.withLock({ $0 }) { throw error }
        return try outcomes.withLock { outcomes in try (0..<ranks).compactMap { try outcomes[$0]?.get() } }
    }
}

/// A thread that can be waited for.
final class RankThread {
    private var thread = pthread_t()

    private final class Work {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Starts the thread.
    init(_ body: @escaping @Sendable () -> Void) {
        let work = Unmanaged.passRetained(Work(body)).toOpaque()
        let status = pthread_create(
            &thread, nil,
            { work in
                guard let work else { return nil }
                Unmanaged<Work>.fromOpaque(work).takeRetainedValue().body()
                return nil
            }, work)
        precondition(status == 0, "cannot start a thread: \(String(cString: strerror(status)))")
    }

    /// Waits for its end; call once.
    func join() {
        pthread_join(thread, nil)
    }
}
