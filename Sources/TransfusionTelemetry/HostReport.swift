/// What ranks on a host compute with: what should be the same on all hosts of a run.
public struct HostReport: Codable, Sendable, Equatable {
    /// Names the build of transfusion: the beginning of the SHA-256 of tf-worker.
    public var program: String
    /// The version of the message-passing library.
    public var openMPI: String
    public var processors: Int
    /// The levels of instructions that are used: of the project's own kernels, of OpenBLAS and of oneDNN.
    public var kernels: String
    public var openBLAS: String
    public var oneDNN: String

    public init(
        program: String, openMPI: String, processors: Int, kernels: String, openBLAS: String, oneDNN: String
    ) {
        self.program = program
        self.openMPI = openMPI
        self.processors = processors
        self.kernels = kernels
        self.openBLAS = openBLAS
        self.oneDNN = oneDNN
    }
}
