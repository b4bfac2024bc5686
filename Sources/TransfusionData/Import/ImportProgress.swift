internal import Foundation
internal import TransfusionCore

/// How far an import has come: what its next process needs to go on. It is written again and again, each time behind the data that it
/// speaks of.
struct ImportProgress: Codable {
    /// What was asked for, option by option.
    var options: [String: String]
    /// Changes with the names, captions, sizes and times of the sources' files.
    var sources: String
    var writer = DatasetWriter.State()
    /// Bytes of the files beside the data set's.
    var lengths: [String: Int] = [:]
    /// Pictures that were read.
    var pictures = 0
    /// Pictures among them that are stored like one before them.
    var duplicatePictures = 0
    /// What the training of the tokenizer told; nil while none was trained.
    var tokenizerNotes: [String]?
    /// Whether all texts were looked at once.
    var areTextsChecked = false
    var emptyTexts = 0
    /// Whether all that is needed to encode texts is there.
    var areTextsBegun = false
    /// Batches of texts that were encoded.
    var batches = 0
    /// Documents that are kept aside for the split `validation`.
    var validationDocuments = 0

    init(options: [String: String], sources: String) {
        self.options = options
        self.sources = sources
    }

    private static let fileName = "progress" + UnfinishedDirectory.temporary
    /// The tokenizer that was trained.
    static let tokenizerFile = "trained" + UnfinishedDirectory.temporary

    /// What a process before this one wrote; nil where there is nothing that can be gone on with.
    static func read(in directory: String) -> ImportProgress? {
        guard let bytes = try? Files.read(directory + "/" + fileName, limit: 1 << 26) else { return nil }
        return try? JSONDecoder().decode(ImportProgress.self, from: Data(bytes))
    }

    func write(in directory: String) throws(DataError) {
        let bytes: Data
        do {
            bytes = try JSONEncoder().encode(self)
        } catch {
            throw DataError(directory, "how far the import is cannot be encoded: \(error)")
        }
        try Files.write([UInt8](bytes), to: directory + "/" + Self.fileName)
    }

    /// The first option that differs, in words; nil when all are alike.
    func difference(from other: ImportProgress) -> String? {
        for name in Set(options.keys).union(other.options.keys).sorted() where options[name] != other.options[name] {
            return "\(name) was \(other.options[name] ?? "not given") and is \(options[name] ?? "not given")"
        }
        return nil
    }
}
