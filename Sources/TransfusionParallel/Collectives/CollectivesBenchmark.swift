internal import CMPI
internal import Glibc
internal import TransfusionCore

/// Times this library's collectives against MPI's own in one run, for `tf-bench collectives`.
///
/// All ranks of an MPI job run it together. Ours and MPI's calls alternate, so that a disturbance of the machine meets
/// both.
public struct CollectivesBenchmark {
    /// One operation, ours and MPI's.
    public struct Row: Codable, Sendable {
        /// "reduce-scatter", "all-reduce" or "all-gather".
        public let operation: String
        /// Where our call found its values: "shared memory" (`allocateShared`) or "ordinary memory".
        public let memory: String
        /// What MPI's side of the comparison was.
        public let reference: String
        /// The median over the repetitions of the slowest rank's time.
        public let milliseconds: Double
        public let referenceMilliseconds: Double
        /// How many times as fast as MPI.
        public let speedup: Double
    }

    public struct Report: Codable, Sendable {
        public let ranks: Int
        public let transport: String
        public let bytes: Int
        public let repetitions: Int
        public let rows: [Row]
    }

    private let mpi: MPIEnvironment
    private let count: Int
    private let repetitions: Int

    /// - Parameter bytes: the size of each rank's f32 vector.
    /// - Throws: `LaunchError` if this process is no rank of an MPI job of at least two.
    public static func run(on mpi: MPIEnvironment, bytes: Int, repetitions: Int) throws -> Report {
        guard mpi.world.size > 1 else {
            throw LaunchError("collectives need at least two ranks: start with 'mpirun -n 2 tf-bench collectives'")
        }
        let count = bytes / 4 / mpi.world.size * mpi.world.size
        guard bytes > 0, count > 0, count / mpi.world.size <= Int(Int32.max) / 4, repetitions > 0 else {
            throw SettingError(
                "bytes", "\(bytes) is out of range: each of \(mpi.world.size) ranks needs 4 bytes to 2 GiB of it")
        }
        let benchmark = CollectivesBenchmark(mpi: mpi, count: count, repetitions: repetitions)
        return Report(
            ranks: mpi.world.size, transport: mpi.transport, bytes: count * 4, repetitions: repetitions,
            rows: try benchmark.rows())
    }

    private func rows() throws -> [Row] {
        let shared = try mpi.world.allocateShared(byteCount: count * 4)
        let ordinary = SharedBuffer(privateBytes: count * 4)
        let result = SharedBuffer(privateBytes: count * 4)
        return try [(shared, "shared memory"), (ordinary, "ordinary memory")].flatMap { buffer, memory in
            let values = buffer.bytes.bindMemory(to: Float.self)
            return try [
                compare("reduce-scatter", memory, "MPI_Reduce_scatter_block", values) {
                    try mpi.world.reduceScatterSum(values, offsets: offsets, site: "benchmark")
                } reference: {
                    MPI_Reduce_scatter_block(
                        values.baseAddress, result.bytes.baseAddress, Int32(count / mpi.world.size), tf_mpi_float(),
                        tf_mpi_sum(), tf_mpi_comm_world())
                },
                compare("all-reduce", memory, "MPI_Allreduce", values) {
                    try mpi.world.allReduceSum(values, site: "benchmark")
                } reference: {
                    MPI_Allreduce(
                        values.baseAddress, result.bytes.baseAddress, Int32(count), tf_mpi_float(), tf_mpi_sum(),
                        tf_mpi_comm_world())
                },
                compare("all-gather", memory, "MPI_Allgather", values) {
                    try mpi.world.allGather(
                        UnsafeMutableRawBufferPointer(values), offsets: offsets.map { $0 * 4 }, site: "benchmark")
                } reference: {
                    MPI_Allgather(
                        values.baseAddress, Int32(count / mpi.world.size), tf_mpi_float(), result.bytes.baseAddress,
                        Int32(count / mpi.world.size), tf_mpi_float(), tf_mpi_comm_world())
                },
            ]
        }
    }

    private var offsets: [Int] { (0...mpi.world.size).map { count / mpi.world.size * $0 } }

    private func compare(
        _ operation: String, _ memory: String, _ referenceName: String, _ values: UnsafeMutableBufferPointer<Float>,
        ours: () throws -> Void, reference: () -> Int32
    ) throws -> Row {
        var times: [Double] = []
        var referenceTimes: [Double] = []
        // The first repetition touches all memory for the first time and does not count.
        for repetition in 0...repetitions {
            values.update(repeating: 1)
            let time = try slowestRank(of: ours)
            let referenceTime = try slowestRank {
                let status = reference()
                guard status == MPI_SUCCESS else { throw LaunchError("\(referenceName) failed with code \(status)") }
            }
            guard repetition > 0 else { continue }
            times.append(time)
            referenceTimes.append(referenceTime)
        }
        let median = times.sorted()[repetitions / 2]
        let referenceMedian = referenceTimes.sorted()[repetitions / 2]
        return Row(
            operation: operation, memory: memory, reference: referenceName, milliseconds: median * 1e3,
            referenceMilliseconds: referenceMedian * 1e3, speedup: referenceMedian / median)
    }

    /// Seconds from a common start to the end on the slowest rank.
    private func slowestRank(of body: () throws -> Void) throws -> Double {
        try mpi.world.barrier(site: "benchmark start")
        let start = ContinuousClock.now
        try body()
        var seconds = [Float(start.duration(to: .now).seconds)]
        try seconds.withUnsafeMutableBufferPointer { try mpi.world.allReduceMax($0, site: "benchmark time") }
        return Double(seconds[0])
    }
}
