internal import Glibc
internal import TransfusionCore
internal import TransfusionSupport

/// What `--version` prints: all that a report of a fault should name.
enum VersionReport {
    static var text: String {
        let processor = CPUReport()
        return """
            transfusion \(ProductVersion.full)
            compiler: \(ProductVersion.compiler)
            Open MPI: \(openMPI)
            OpenBLAS: \(LibraryVersions.openBLAS)
            oneDNN: \(LibraryVersions.oneDNN), \(processor.oneDNNInstructionSet)
            kernels: \(processor.instructionSet)
            """
    }

    /// The one that ranks on this host would be linked with; most programs have no use for it.
    private static var openMPI: String {
        typealias GetVersion = @convention(c) (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Int32
        guard let library = dlopen("libmpi.so.40", RTLD_LAZY), let symbol = dlsym(library, "MPI_Get_library_version")
        else { return "not installed" }
        // MPI_MAX_LIBRARY_VERSION_STRING is 256 in Open MPI.
        var text = [CChar](repeating: 0, count: 4096)
        var length: Int32 = 0
        _ = unsafeBitCast(symbol, to: GetVersion.self)(&text, &length)
        // It continues with who built it, and where.
        let version = String(decoding: text.prefix { $0 != 0 && $0 != 44 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return version.hasPrefix("Open MPI v") ? String(version.dropFirst(10)) : version
    }
}
