internal import Foundation
internal import TransfusionConfig
internal import TransfusionData
internal import TransfusionSupport

/// A directory of generated pictures: `000000.png …`, `prompts.jsonl`, and sheets for people to look at.
struct PictureDirectory {
    let path: String

    /// - Throws: `CommandFailure` when it cannot be made.
    init(_ path: String) throws {
        self.path = path
        do {
            try Directories.make(path)
        } catch {
            throw CommandFailure("\(error); choose another place")
        }
    }

    /// The name of picture `number`.
    static func name(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits + ".png"
    }

    /// Whether a name is that of one picture, so that no directory is made.
    static func isOneFile(_ path: String) -> Bool { path.lowercased().hasSuffix(".png") }

    /// Refuses a place where drawn pictures cannot be written.
    /// - Parameter several: Whether there may be more than one.
    static func check(_ path: String, several: Bool) throws {
        guard !several || !isOneFile(path) else {
            throw CommandFailure("\(path): several pictures need a directory; give the name of one", .wrongUse)
        }
        try requireFree(path)
        if isOneFile(path) {
            try requireParent(of: path)
        } else if looksLikeAFile(path) {
            throw CommandFailure(
                "\(path): pictures are written as PNG; choose a name that ends in .png, or a directory", .wrongUse)
        }
    }

    /// Refuses a place for new files where there is something already, or where nothing can be written.
    static func requireFree(_ path: String) throws {
        let contents = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        let isEmptyDirectory = Directories.exists(path) && contents.isEmpty
        if FileManager.default.fileExists(atPath: path), !isEmptyDirectory {
            throw CommandFailure("\(path): exists already; choose another place", .wrongUse)
        }
        // As text: each turn makes the path shorter, whatever it leads through.
        var parent = path
        while !FileManager.default.fileExists(atPath: parent) {
            guard Paths.name(of: parent) != ".." else {
                throw CommandFailure("\(path): leads through a missing directory; choose another place", .wrongUse)
            }
            parent = Paths.parent(of: parent)
        }
        guard Directories.exists(parent), FileManager.default.isWritableFile(atPath: parent) else {
            throw CommandFailure("\(path): cannot be written in \(parent); choose another place", .wrongUse)
        }
    }

    /// Refuses a file in a directory that is not there: one that is misspelt shall not be made.
    static func requireParent(of path: String) throws {
        let parent = Paths.parent(of: path)
        guard Directories.exists(parent) else {
            throw CommandFailure("\(path): there is no directory \(parent); make it or choose another place", .wrongUse)
        }
    }

    /// Whether the name is that of a picture, so that no directory was meant.
    static func looksLikeAFile(_ path: String) -> Bool {
        ["png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff", "avif"]
            .contains(Paths.fileExtension(of: path))
    }

    /// Writes each picture under its record's name, then the records.
    func write(_ pictures: [(record: PictureRecord, picture: Picture)], _ metadata: PictureMetadata) throws {
        for (record, picture) in pictures {
            try Self.write(picture, text: try metadata.chunks(record, of: picture), to: path + "/" + record.file)
        }
        let lines = try pictures.map { try JSONText.line($0.record) + "\n" }
        try AtomicFile.write(lines.joined().utf8, to: path + "/prompts.jsonl", durable: false)
    }

    static func write(_ picture: Picture, text: [(keyword: String, text: String)] = [], to path: String) throws {
        let png = try PNG.encode(rgb: picture.rgb, width: picture.width, height: picture.height, text: text)
        try AtomicFile.write(png, to: path, durable: false)
    }
}
