internal import Foundation

/// What ranks on a host compute with: what should be the same on all hosts of a run.
public struct HostReport: Codable, Sendable, Equatable {
    /// Names the build of transfusion: the beginning of the SHA-256 of tf-worker.
    public var program: String
    /// The version of the message-passing library.
    public var openMPI: String
    public var processors: Int
    /// Memory nodes: sockets, mostly.
    public var memoryNodes: Int
    /// The levels of instructions that are used: of the project's own kernels, of OpenBLAS and of oneDNN.
    public var kernels: String
    public var openBLAS: String
    public var oneDNN: String

    public init(
        program: String, openMPI: String, processors: Int, memoryNodes: Int, kernels: String, openBLAS: String,
        oneDNN: String
    ) {
        self.program = program
        self.openMPI = openMPI
        self.processors = processors
        self.memoryNodes = memoryNodes
        self.kernels = kernels
        self.openBLAS = openBLAS
        self.oneDNN = oneDNN
    }

    public static var memoryNodesOfThisHost: Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/devices/system/node")) ?? []
        return max(1, names.count { $0.wholeMatch(of: /node\d+/) != nil })
    }
}
