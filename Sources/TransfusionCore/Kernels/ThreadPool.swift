internal import CKernels
internal import Glibc
internal import Synchronization

/// A fixed set of threads that run one parallel region at a time: the caller and `threadCount - 1` workers.
///
/// A pool belongs to the thread that made it. A call from inside a region runs inline on the thread that makes it. Threads
/// that wait spin for some tens of microseconds (a training step is a dense row of regions) and then sleep, so that more
/// threads than cores slow each other down but never stall.
public final class ThreadPool {
    public let threadCount: Int
    private let region: Region
    private var workers: [pthread_t] = []

    /// - Parameter threads: How many threads run a region, the caller included; by default as many as
    ///   `availableCPUCount`.
    public init(threads: Int? = nil) {
        let count = threads ?? Self.availableCPUCount
        precondition(count >= 1, "a thread pool needs at least one thread, not \(count)")
        region = Region(workerCount: count - 1)
        for index in 1..<max(count, 1) {
            let start = Unmanaged.passRetained(WorkerStart(region: region, index: index))
            var worker = pthread_t()
            let status = pthread_create(
                &worker, nil,
                { argument in
                    guard let argument else { return nil }
                    let start = Unmanaged<WorkerStart>.fromOpaque(argument).takeRetainedValue()
                    start.region.work(as: start.index)
                    return nil
                }, start.toOpaque())
            guard status == 0 else {
                // Fewer threads than asked for compute the same; the pool continues with those it has.
                start.release()
                break
            }
            workers.append(worker)
        }
        threadCount = workers.count + 1
        region.workerCount = UInt32(workers.count)
    }

    deinit {
        region.stop()
        for worker in workers { pthread_join(worker, nil) }
    }

    /// How many CPUs this process may keep busy: those of its affinity mask, or fewer where the quota of a container is less.
    public static var availableCPUCount: Int { availableCPUCount(quota: ProcessorQuota.processors()) }

    static func availableCPUCount(quota: Double?) -> Int {
        let allowed = Int(tf_available_cpus())
        return quota.map { max(1, min(allowed, Int(min($0, Double(allowed))))) } ?? allowed
    }

    /// Which thread of this pool runs the caller: 0 for the owner, `1 ..< threadCount` for workers.
    public var currentThread: Int { region.currentThread }

    /// Runs `body` over `0 ..< count` in at most `threadCount` contiguous ranges of at least `grain` elements.
    ///
    /// The ranges depend only on `count`, `grain` and `threadCount`, and range `i` always runs on thread `i`.
    public func parallel(_ count: Int, grain: Int = 1, _ body: (Range<Int>) -> Void) {
        guard count > 0 else { return }
        let parts = min(threadCount, max(1, count / max(grain, 1)))
        guard parts > 1, !region.isActive else { return body(0..<count) }
        region.run { thread in
            guard thread < parts else { return }
            body(count * thread / parts..<count * (thread + 1) / parts)
        }
    }

    /// Runs `body` once for each task in `0 ..< count`; a thread that is free takes the next one.
    ///
    /// `thread` is below `threadCount` and tells tasks that run at the same time apart, for scratch memory.
    public func tasks(_ count: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
        guard count > 0 else { return }
        guard count > 1, threadCount > 1, !region.isActive else {
            let thread = currentThread
            for task in 0..<count { body(task, thread) }
            return
        }
        region.next.store(0, ordering: .relaxed)
        region.run { thread in
            while true {
                let task = region.next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard task < count else { return }
                body(task, thread)
            }
        }
    }
}

private final class WorkerStart {
    let region: Region
    let index: Int

    init(region: Region, index: Int) {
        self.region = region
        self.index = index
    }
}

/// What the threads of a pool share.
///
/// Unchecked, because the compiler cannot see the protocol that guards `body` and `workerCount`: the owner writes them only
/// while no region is open, publishes them by a releasing store to `generation`, and takes them back after every worker has
/// decremented `remaining`.
private final class Region: @unchecked Sendable {
    /// Counts the regions; workers wait for it to change.
    private let generation = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    /// How many workers have not yet finished the open region.
    private let remaining = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    private let sleepingWorkers = Atomic<Int>(0)
    private let ownerSleeps = Atomic<Bool>(false)
    private let active = Atomic<Bool>(false)
    private let stopping = Atomic<Bool>(false)
    /// The next task of `ThreadPool.tasks`.
    let next = Atomic<Int>(0)
    var workerCount: UInt32
    private var body: ((Int) -> Void)?
    private var threadKey = pthread_key_t()

    /// A pause takes some ten nanoseconds.
    private static let pausesBeforeSleep = 2000

    init(workerCount: Int) {
        self.workerCount = UInt32(workerCount)
        generation.initialize(to: Atomic(0))
        remaining.initialize(to: Atomic(0))
        let status = pthread_key_create(&threadKey, nil)
        precondition(status == 0, "no thread-specific key is left for another thread pool (status \(status))")
    }

    deinit {
        pthread_key_delete(threadKey)
        generation.deinitialize(count: 1)
        generation.deallocate()
        remaining.deinitialize(count: 1)
        remaining.deallocate()
    }

    var isActive: Bool { active.load(ordering: .relaxed) }
    var currentThread: Int { Int(bitPattern: pthread_getspecific(threadKey)) }

    /// Runs `body` with every thread index, 0 on the calling thread, and returns when all are done.
    func run(_ body: (Int) -> Void) {
        // The one place where a closure crosses threads. It neither escapes nor runs after this call: the join below
        // waits until every worker is through with it.
        withoutActuallyEscaping(body) { body in
            self.body = body
            remaining.pointee.store(workerCount, ordering: .relaxed)
            active.store(true, ordering: .relaxed)
            open()
            body(0)
            join()
            active.store(false, ordering: .relaxed)
            self.body = nil
        }
    }

    func stop() {
        stopping.store(true, ordering: .relaxed)
        open()
    }

    private func open() {
        generation.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if sleepingWorkers.load(ordering: .sequentiallyConsistent) > 0 { tf_futex_wake_all(generation) }
    }

    private func join() {
        for _ in 0..<Self.pausesBeforeSleep {
            if remaining.pointee.load(ordering: .acquiring) == 0 { return }
            tf_pause()
        }
        ownerSleeps.store(true, ordering: .sequentiallyConsistent)
        while true {
            let count = remaining.pointee.load(ordering: .sequentiallyConsistent)
            if count == 0 { break }
            tf_futex_wait(remaining, count)
        }
        ownerSleeps.store(false, ordering: .relaxed)
    }

    /// The life of a worker.
    func work(as index: Int) {
        pthread_setspecific(threadKey, UnsafeMutableRawPointer(bitPattern: index))
        var seen: UInt32 = 0
        while true {
            waitForChange(from: seen)
            seen &+= 1
            if stopping.load(ordering: .relaxed) { return }
            body?(index)
            let left = remaining.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue
            if left == 0, ownerSleeps.load(ordering: .sequentiallyConsistent) { tf_futex_wake_all(remaining) }
        }
    }

    private func waitForChange(from seen: UInt32) {
        for _ in 0..<Self.pausesBeforeSleep {
            if generation.pointee.load(ordering: .acquiring) != seen { return }
            tf_pause()
        }
        sleepingWorkers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        while generation.pointee.load(ordering: .sequentiallyConsistent) == seen { tf_futex_wait(generation, seen) }
        sleepingWorkers.wrappingSubtract(1, ordering: .relaxed)
    }
}
