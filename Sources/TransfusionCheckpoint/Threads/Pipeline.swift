internal import TransfusionCore

/// Work on numbered items that several threads share.
enum Pipeline {
    /// Enough threads to keep up with a fast disk (hashing runs at 1.5 GB/s or more on each), yet few beside training.
    static var defaultThreads: Int { min(4, ThreadPool.availableCPUCount) }

    /// Does `work` for the items `0..<count` on `threads` threads, and gives the results in order to `consume` on the
    /// calling thread.
    ///
    /// At most `threads + ahead` results are in memory. The first error ends everything and is thrown after all threads
    /// have stopped.
    static func run<Result>(
        count: Int, threads: Int, ahead: Int = 2, work: @escaping @Sendable (Int) throws -> sending Result,
        consume: (Int, Result) throws -> Void
    ) throws {
        guard threads > 1, count > 1 else {
            for item in 0..<count { try consume(item, try work(item)) }
            return
        }
        let window = threads + ahead
        let monitor = Monitor(State<Result>())
        var workers: [WorkerThread] = []
        do {
            for _ in 0..<min(threads, count) {
                workers.append(
                    try WorkerThread {
                        while let item = monitor.wait(for: { $0.next(count: count, window: window) }) {
                            do {
                                let result = try work(item)
                                monitor.update { $0.results[item] = result }
                            } catch {
                                monitor.update { $0.fail(error) }
                            }
                        }
                    })
            }
        } catch {
            // Fewer threads do the work as well. Without any, nobody would.
            if workers.isEmpty { throw error }
        }
        for item in 0..<count {
            let result = monitor.wait { state -> Result?? in
                if state.failure != nil { return .some(nil) }
                return state.results.removeValue(forKey: item).map { .some($0) }
            }
            guard let result else { break }
            do {
                try consume(item, result)
                monitor.update { $0.consumed = item + 1 }
            } catch {
                monitor.update { $0.fail(error) }
                break
            }
        }
        for worker in workers { worker.join() }
        if let failure = monitor.update({ $0.failure }) { throw failure }
    }

    private struct State<Result> {
        var nextItem = 0
        var consumed = 0
        var results: [Int: Result] = [:]
        var failure: (any Error)?

        /// The next item to work on, `.some(nil)` when there is none any more, `nil` while the window is full.
        mutating func next(count: Int, window: Int) -> Int?? {
            if failure != nil || nextItem == count { return .some(nil) }
            guard nextItem < consumed + window else { return nil }
            defer { nextItem += 1 }
            return .some(nextItem)
        }

        mutating func fail(_ error: any Error) {
            if failure == nil { failure = error }
        }
    }
}
