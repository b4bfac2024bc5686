internal import CMPI
internal import Glibc
import TransfusionCore

/// MPI, started at most once in a process.
///
/// A process that no launcher started does not touch MPI at all.
public final class MPIEnvironment {
    /// All ranks of the job; a group of one outside MPI.
    public let world: any Communicator
    /// Where this rank runs.
    public let hostName: String
    /// The calls under way, for heartbeats.
    public let watch: CollectiveWatch
    /// How the ranks of the world reach each other, for the report at the start.
    public let transport: String
    private let usesMPI: Bool

    private init(
        world: any Communicator, watch: CollectiveWatch, transport: String, usesMPI: Bool
    ) {
        self.world = world
        self.watch = watch
        self.transport = transport
        self.usesMPI = usesMPI
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        hostName = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Joins the job that this process was started in. Call once, before anything else of this library.
    /// - Parameters:
    ///   - expectedRanks: how many ranks the user wants; the job must have just as many.
    ///   - ranksPerHost: treats this many consecutive ranks as a host of their own, also when they share a machine;
    ///     by default MPI says who shares a host.
    /// - Throws: `LaunchError` when this process would run as one of several silent singletons, `CollectiveError`
    ///   when MPI does not work.
    public static func start(
        launch: LaunchEnvironment = .current, expectedRanks: Int? = nil, ranksPerHost: Int? = nil
    ) throws -> MPIEnvironment {
        let watch = CollectiveWatch()
        guard launch.launcher != nil else {
            if let problem = launch.problem(actual: 1, expected: expectedRanks) { throw LaunchError(problem) }
            return MPIEnvironment(world: SingleRank(), watch: watch, transport: "one process", usesMPI: false)
        }
        var provided: Int32 = 0
        let status = MPI_Init_thread(nil, nil, Int32(MPI_THREAD_MULTIPLE), &provided)
        guard status == MPI_SUCCESS else {
            throw LaunchError("MPI_Init_thread failed with code \(status)")
        }
        let flat = MPICollectives.world(ranksPerHost: ranksPerHost, watch: watch)
        if let problem = launch.problem(actual: flat.size, expected: expectedRanks) {
            MPI_Finalize()
            throw LaunchError(problem)
        }
        // Data-parallel reductions run on a thread of their own beside the tensor-parallel ones.
        guard provided == Int32(MPI_THREAD_MULTIPLE) else {
            throw LaunchError("this MPI lacks MPI_THREAD_MULTIPLE: use an Open MPI that was built with it")
        }
        let (world, transport) = try Communicators.make(over: flat)
        return MPIEnvironment(world: world, watch: watch, transport: transport, usesMPI: true)
    }

    /// The name and version of the MPI library.
    public static var version: String {
        var text = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING))
        var length: Int32 = 0
        MPI_Get_library_version(&text, &length)
        // Open MPI continues with who built it, and where.
        return String(decoding: text.prefix { $0 != 0 && $0 != 44 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Leaves the job in good order. All ranks call it, and nothing of `world` afterwards.
    public func finish() {
        if usesMPI { MPI_Finalize() }
    }

    /// Ends all ranks of the job at once, as after an error on this rank.
    public func abort(exitCode: Int32) -> Never {
        if usesMPI { MPI_Abort(tf_mpi_comm_world(), exitCode) }
        exit(exitCode)
    }
}

/// Why a job cannot start.
public struct LaunchError: Error, CustomStringConvertible, Equatable {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
