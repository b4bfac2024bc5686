internal import Glibc

/// Texts that are too many for memory, in a file that is gone when nobody needs it any more. In memory stays a number for each.
final class TextSpool {
    private let path: String
    private let sink: FileSink
    private var file: MappedFile?
    /// Where each text ends.
    private var ends: [Int] = []

    /// - Parameter path: A file of an unfinished data set.
    init(_ path: String) throws(DataError) {
        self.path = path
        sink = try FileSink(path)
    }

    deinit { unlink(path) }

    var count: Int { ends.count }

    func append(_ text: String) throws(DataError) {
        try sink.write([UInt8](text.utf8))
        ends.append(sink.count)
    }

    /// No more texts come; from now on they can be read.
    func close() throws(DataError) {
        try sink.close()
        file = try MappedFile(path, expectedBytes: sink.count)
        unlink(path)
    }

    /// The file, and where a text lies in it.
    var contents: MappedFile {
        guard let file else { preconditionFailure("the spool is still written") }
        return file
    }

    func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    subscript(index: Int) -> String {
        let contents = contents
        defer { withExtendedLifetime(contents) {} }
        return String(decoding: contents.bytes[range(index)], as: UTF8.self)
    }
}
