internal import Glibc

extension MPIEnvironment {
    /// How a rank leaves a job in which its work failed.
    public struct Leaving {
        public let exitCode: Int32
        /// Whether all ranks leave like this by themselves; else this one ends the others.
        public let isShared: Bool

        public init(exitCode: Int32, isShared: Bool) {
            self.exitCode = exitCode
            self.isShared = isShared
        }
    }

    /// Joins the job that this process was started in, does its work, and leaves in good order. A rank that fails does not
    /// return: it ends the process, and unless all know of the failure the whole job.
    ///
    /// - Parameters:
    ///   - expectedRanks: How many ranks the user wants; the job must have just as many.
    ///   - failed: Tells the user of an error, and how to leave.
    /// - Throws: `LaunchError` or `CollectiveError` when the job cannot be joined, and nothing else.
    public static func run<Result>(
        expectedRanks: Int? = nil, _ work: (MPIEnvironment) throws -> Result,
        failed: (any Error, MPIEnvironment) -> Leaving
    ) throws -> Result {
        let job = try start(expectedRanks: expectedRanks)
        let result: Result
        do {
            result = try work(job)
        } catch {
            let leaving = failed(error, job)
            guard leaving.isShared else { job.abort(exitCode: leaving.exitCode) }
            // The others know as well, and leave by themselves, so that mpirun has nothing to add.
            job.finish()
            exit(leaving.exitCode)
        }
        job.finish()
        return result
    }
}
