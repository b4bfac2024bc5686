internal import Foundation
internal import TransfusionCore
public import TransfusionSupport

/// What ranks on a host compute with: what should be the same on all hosts of a run.
public struct HostReport: Codable, Sendable, Equatable {
    /// Names the build of transfusion: the beginning of the SHA-256 of tf-worker.
    public var program: String
    /// The version of it, for people; nil when it is older than 0.3.
    public var version: String? = ProductVersion.full
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

    /// The beginning of the SHA-256 of a program.
    public static func digest(ofProgram path: String) throws(FileFailure) -> String {
        guard let contents = try? Data(contentsOf: URL(filePath: path), options: .mappedIfSafe) else {
            throw FileFailure(path, because: "cannot be read")
        }
        return String(contents.withUnsafeBytes { SHA256.hexDigest($0) }.prefix(12))
    }

    /// Names a build of transfusion to people: versions of sources that were modified may be the same.
    public static func name(ofVersion version: String?, program: String) -> String {
        version.map { "\($0) (\(program))" } ?? program
    }

    public static var memoryNodesOfThisHost: Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/devices/system/node")) ?? []
        return max(1, names.count { $0.wholeMatch(of: /node\d+/) != nil })
    }
}
