internal import CKernels
internal import COneDNN
internal import COpenBLAS
internal import Glibc

/// What this process computes with, so that nothing is slow in silence.
public struct CPUReport: Sendable, Equatable, Codable {
    /// The level that the project's own kernels run at: `x86-64-v4` (AVX-512), `x86-64-v3` (AVX2) or `baseline`.
    public let instructionSet: String
    /// Whether products of bf16 are faster than those of f32.
    public let hasBF16Units: Bool
    /// Whether oneDNN may use tile registers (AMX).
    public let hasTileUnits: Bool
    /// The kernel set that OpenBLAS chose.
    public let openBLASCore: String
    /// The instruction set that oneDNN generates code for.
    public let oneDNNInstructionSet: String
    /// How many CPUs this process may run on.
    public let cpuCount: Int

    /// The state of this process.
    public init() {
        instructionSet = String(cString: tf_instruction_set())
        hasBF16Units = Self.hasBF16Units
        hasTileUnits = Self.oneDNNSupports(dnnl_cpu_isa_avx512_core_amx)
        openBLASCore = openblas_get_corename().map { String(cString: $0) } ?? "unknown"
        oneDNNInstructionSet = Self.oneDNNLevels.first { Self.oneDNNSupports($0.level) }?.name ?? "baseline"
        cpuCount = ThreadPool.availableCPUCount
    }

    /// The value of `OPENBLAS_CORETYPE` that makes OpenBLAS as fast as this CPU allows, when its own choice is not.
    ///
    /// OpenBLAS reads it when it is loaded, that is before `main`.
    public var openBLASRemedy: String? {
        switch instructionSet {
        case "x86-64-v4": ["SkylakeX", "Cooperlake", "SapphireRapids"].contains(openBLASCore) ? nil : "SkylakeX"
        case "x86-64-v3": ["Haswell", "Zen", "SkylakeX", "Cooperlake"].contains(openBLASCore) ? nil : "Haswell"
        default: nil
        }
    }

    /// One line for the log.
    public var summary: String {
        let remedy = openBLASRemedy.map { " (slow; OPENBLAS_CORETYPE=\($0) is faster)" } ?? ""
        return "\(cpuCount) CPUs, kernels \(instructionSet), OpenBLAS \(openBLASCore)\(remedy), "
            + "oneDNN \(oneDNNInstructionSet), bf16 units: \(hasBF16Units ? "yes" : "no")"
    }

    /// Whether oneDNN finds bf16 units, and may use them (`ONEDNN_MAX_CPU_ISA` can forbid it).
    public static var hasBF16Units: Bool { oneDNNSupports(dnnl_cpu_isa_avx512_core_bf16) }

    private static var oneDNNLevels: [(level: dnnl_cpu_isa_t, name: String)] {
        [
            (dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"),
            (dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"),
            (dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"),
            (dnnl_cpu_isa_avx512_core, "avx512_core"),
            (dnnl_cpu_isa_avx2_vnni, "avx2_vnni"),
            (dnnl_cpu_isa_avx2, "avx2"),
            (dnnl_cpu_isa_avx, "avx"),
            (dnnl_cpu_isa_sse41, "sse41"),
        ]
    }

    private static func oneDNNSupports(_ level: dnnl_cpu_isa_t) -> Bool {
        // Each level is a set of bits that holds the bits of the levels below it.
        dnnl_get_effective_cpu_isa().rawValue & level.rawValue == level.rawValue
    }
}

extension CPUReport {
    private static let reexecutionMark = "TRANSFUSION_OPENBLAS_CORETYPE_SET"

    /// Starts this program anew with faster OpenBLAS kernels when those that it chose are slow; otherwise returns.
    ///
    /// Does so at most once, and never against a choice of the user. Call it first in `main`, before any thread or file is
    /// opened. Returns also when the program cannot be started again.
    public static func reexecuteIfSlowKernels() {
        guard getenv("OPENBLAS_CORETYPE") == nil, getenv(reexecutionMark) == nil, let core = CPUReport().openBLASRemedy
        else { return }
        setenv("OPENBLAS_CORETYPE", core, 1)
        setenv(reexecutionMark, "1", 1)
        execv("/proc/self/exe", CommandLine.unsafeArgv)
        unsetenv("OPENBLAS_CORETYPE")
    }
}
