internal import Glibc

/// How this process was started, as far as its environment tells.
public struct LaunchEnvironment: Equatable, Sendable {
    /// What started it, such as "mpirun" or "srun"; nil if nothing that starts ranks did.
    public let launcher: String?
    /// How many ranks the launcher says that it started.
    public let ranks: Int
    /// Which of them this is, from 0.
    public let rank: Int

    /// Reads the variables that Open MPI's mpirun, other MPIs' launchers and Slurm set.
    public init(environment: [String: String]) {
        // An inner launcher wins: mpirun inside a Slurm job may start fewer ranks than the job has tasks.
        let variables = [
            ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun"),
            ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "mpirun of MVAPICH"),
            ("PMI_SIZE", "PMI_RANK", "mpiexec of another MPI"), ("SLURM_NTASKS", "SLURM_PROCID", "srun"),
            ("SLURM_NPROCS", "SLURM_PROCID", "srun"),
        ]
        for (variable, rank, launcher) in variables {
            if let ranks = environment[variable].flatMap({ Int($0) }), ranks > 0 {
                self.launcher = launcher
                self.ranks = ranks
                self.rank = environment[rank].flatMap { Int($0) } ?? 0
                return
            }
        }
        let managed = environment["PMIX_RANK"] != nil
        launcher = managed ? "a PMIx launcher" : nil
        ranks = 1
        rank = 0
    }

    /// The environment of this process.
    public static var current: LaunchEnvironment {
        var values: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
            entry += 1
        }
        return LaunchEnvironment(environment: values)
    }

    /// Why a process that ended up as one of `actual` ranks must not go on; nil if it may.
    ///
    /// A worker that was started N times but cannot see the others would train N times alone, into one directory.
    /// - Parameter expected: what the user says the number of ranks is; it counts more than the environment.
    public func problem(actual: Int, expected: Int?) -> String? {
        if let expected {
            guard expected != actual else { return nil }
            return "\(expected) ranks were expected, but MPI sees \(actual): start with 'mpirun -n \(expected)'"
        }
        guard let launcher, ranks > 1, actual == 1 else { return nil }
        let remedy =
            launcher == "srun"
            ? "use 'srun --mpi=pmix' or 'mpirun', or say '--expect-ranks 1' for a process alone in this job"
            : "use the mpirun of the Open MPI that this program is linked to"
        return "\(launcher) announces \(ranks) ranks, but this process sees itself alone: \(remedy)"
    }
}
