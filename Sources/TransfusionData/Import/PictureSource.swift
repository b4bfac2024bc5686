/// Where pictures with captions come from. A source is read twice: once to find all that cannot be used before the long work,
/// and once for the pixels.
protocol PictureSource: AnyObject {
    /// What a person gave, for messages.
    var name: String { get }

    /// Names the pictures and their captions. Each picture's header is looked at; what cannot be used is added to `bad`.
    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError)

    /// Gives the pictures that were listed, in the same order, or says why one can no longer be read.
    /// - Parameters:
    ///   - first: How many of them to pass over.
    ///   - body: Says whether to go on.
    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError)
}

/// A picture as it is stored in its source.
package struct PictureBytes: Sendable {
    enum Storage: Sendable {
        case file(MappedFile)
        case memory([UInt8])
    }

    /// What errors call it.
    let name: String
    let storage: Storage

    init(name: String, storage: Storage) {
        self.name = name
        self.storage = storage
    }

    package init(name: String, _ bytes: [UInt8]) {
        self.init(name: name, storage: .memory(bytes))
    }

    package var count: Int {
        switch storage {
        case .file(let file): file.bytes.count
        case .memory(let bytes): bytes.count
        }
    }

    /// As the header says it.
    package func pixelCount() throws(DataError) -> Int {
        func count(_ bytes: UnsafeRawBufferPointer) throws(DataError) -> Int {
            guard let size = try PictureFormat(of: bytes)?.size(of: bytes, name: name) else { return 0 }
            return size.width * size.height
        }
        switch storage {
        case .file(let file):
            defer { withExtendedLifetime(file) {} }
            return try count(file.bytes)
        case .memory(let bytes): return try bytes.withBytes(count)
        }
    }

    func check() throws(DataError) {
        switch storage {
        case .file(let file):
            defer { withExtendedLifetime(file) {} }
            try PictureFile.check(file.bytes, name: name)
        case .memory(let bytes):
            try bytes.withBytes { (bytes) throws(DataError) in try PictureFile.check(bytes, name: name) }
        }
    }

    func decode() throws(DataError) -> Picture {
        switch storage {
        case .file(let file):
            defer { withExtendedLifetime(file) {} }
            return try PictureFile.decode(file.bytes, name: name)
        case .memory(let bytes):
            return try bytes.withBytes { (bytes) throws(DataError) in
                try PictureFile.decode(bytes, name: name)
            }
        }
    }
}
