internal import NIOCore
internal import NIOPosix
@_spi(ExperimentalCustomExecutors) @_spi(ExperimentalScheduling) internal import _Concurrency

/// The threads that run the tasks of a coordinator, in place of libdispatch's.
///
/// When tasks wait for one of its threads, libdispatch looks once a second at what its threads do, in /proc, and ends the
/// process when it cannot open a file there (`_dispatch_workq_monitor_pools`): a coordinator whose host has no file
/// descriptors left for a while would be lost, and these threads wait.
public enum TaskThreads {
    /// Call first of all, before there is a task.
    public static func install() { _createExecutors(factory: Factory.self) }

    private enum Factory: ExecutorFactory {
        static var mainExecutor: any MainExecutor { PlatformExecutorFactory.mainExecutor }
        static let defaultExecutor: any TaskExecutor = ThreadPoolExecutor()
    }
}

private final class ThreadPoolExecutor: TaskExecutor, SchedulingExecutor {
    /// Many more than processors: tasks also wait for disks, and one that hangs must not keep the others.
    private let threads = NIOThreadPool(numberOfThreads: max(64, System.coreCount))
    private let clock = MultiThreadedEventLoopGroup.singleton.any()

    init() {
        threads.start()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        enqueue(UnownedJob(job))
    }

    func enqueue<C: Clock>(
        _ job: consuming ExecutorJob, after delay: C.Duration, tolerance: C.Duration?, clock: C
    ) {
        // Those of the standard library measure in it, and tasks sleep by no others.
        guard let delay = delay as? Duration else { preconditionFailure("a task sleeps by an unknown clock") }
        let job = UnownedJob(job)
        self.clock.scheduleTask(in: TimeAmount(delay)) { self.enqueue(job) }
    }

    fileprivate func enqueue(_ job: UnownedJob) {
        threads.submit { _ in job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
