internal import TransfusionSupport

/// A JSON file that names pictures of a folder and their captions: MS-COCO's annotations, or Karpathy's splits of them.
///
/// COCO: `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`. Karpathy: `{"images": [{"filepath", "filename",
/// "split", "sentences": [{"raw"}]}]}`. The file is looked through where it lies; in memory is a name for each picture.
final class CaptionFile: PictureSource {
    let name: String
    private let folder: String
    private let prefix: String
    private let file: MappedFile
    /// The pictures that can be used.
    private var files: [String] = []

    /// - Parameter folder: Where the pictures lie.
    init(_ path: String, pictures folder: String, prefix: String) throws(DataError) {
        name = path
        self.folder = folder
        self.prefix = prefix
        file = try MappedFile(path)
    }

    /// What of a picture's entry is read.
    private struct Entry {
        var id: Int?
        var fileName: String?
        var filePath: String?
        var split: String?
        var captions: [String]?
    }

    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (list.captionCount, bad.count)
        var captioned = try captionedPictures(bad)
        // The number of each picture of COCO by its id.
        var numbers: [Int: Int] = [:]
        var seen: Set<String> = []
        var done = 0
        try forEach("images") { (reader) throws(JSONReader.Problem) in
            let place = "\(name), picture \(done + 1)"
            let entry = try Self.entry(&reader)
            do throws(DataError) {
                if let id = entry.id, numbers[id] != nil {
                    throw DataError(place, "has the id \(id), as another picture has")
                } else if entry.captions == nil, let id = entry.id, captioned.remove(id) == nil {
                    list.withoutCaption += 1
                } else if let number = try add(entry, to: list, &seen, place: place), let id = entry.id {
                    numbers[id] = number
                }
            } catch {
                bad.add(error)
            }
            done += 1
            progress("looking at the pictures of \(name)", done, 0)
        }
        for id in captioned.sorted() {
            bad.add(DataError(name, "has a caption of picture \(id), which it does not name"))
        }
        var failure: DataError?
        try forEachAnnotation { id, caption in
            guard failure == nil, let number = numbers[id], let caption = try? caption.get() else { return }
            do throws(DataError) { try list.addCaption(caption, of: number) } catch { failure = error }
        }
        if let failure { throw failure }
        guard before != (list.captionCount, bad.count) else { throw DataError(name, "names no picture with a caption") }
    }

    /// The ids of the pictures that annotations speak of.
    private func captionedPictures(_ bad: BadInput) throws(DataError) -> Set<Int> {
        var ids: Set<Int> = []
        var number = 0
        try forEachAnnotation { id, caption in
            number += 1
            switch caption {
            case .success: ids.insert(id)
            case .failure(let problem): bad.add(DataError("\(name), annotation \(number)", problem.description))
            }
        }
        return ids
    }

    private func add(
        _ entry: Entry, to list: PictureList, _ seen: inout Set<String>, place: String
    ) throws(DataError) -> Int? {
        guard let fileName = entry.fileName else {
            throw DataError(place, "has neither \"file_name\" nor \"filename\"")
        }
        guard entry.id != nil || entry.captions != nil else {
            throw DataError(place, "\(fileName): has neither an \"id\" for annotations nor \"sentences\"")
        }
        let relative = entry.filePath.map { $0.isEmpty ? fileName : $0 + "/" + fileName } ?? fileName
        let path = try PictureFolder.inside(relative, place: place)
        guard seen.insert(path).inserted else { throw DataError(place, "\(path) is named twice") }
        guard !Files.isMissing(folder + "/" + path) else {
            throw DataError(place, "there is no file \(path) in \(folder)")
        }
        try PictureFile.check(folder + "/" + path)
        list.note(folder + "/" + path)
        let split: String? = try entry.split.map { (split) throws(DataError) in
            switch split {
            case "train", "restval": "train"
            case "val": "validation"
            case "test": "held_out"
            default: throw DataError(place, "\"split\" is \"\(split)\" and not train, restval, val or test")
            }
        }
        let number = try list.addPicture(key: prefix + path, split: split)
        files.append(path)
        for caption in entry.captions ?? [] { try list.addCaption(caption, of: number) }
        return number
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        for path in files.dropFirst(first) where try !body(PictureFolder.open(folder + "/" + path)) { return }
    }

    // MARK: - JSON

    /// Stands at each element of a list that is a member of the whole.
    private func forEach(
        _ key: String, _ body: (inout JSONReader) throws(JSONReader.Problem) -> Void
    ) throws(DataError) {
        defer { withExtendedLifetime(file) {} }
        do throws(JSONReader.Problem) {
            var reader = JSONReader(file.bytes)
            guard reader.isNext("{") else { throw reader.problem("no object") }
            try reader.object { (reader, found) throws(JSONReader.Problem) in
                if found == key { try reader.list(body) } else { try reader.skip() }
            }
            try reader.end()
        } catch {
            throw DataError(name, "is no JSON file of captions: \(error.description)")
        }
    }

    private func forEachAnnotation(
        _ body: (_ picture: Int, Result<String, JSONReader.Problem>) -> Void
    ) throws(DataError) {
        try forEach("annotations") { (reader) throws(JSONReader.Problem) in
            var id: Int?
            var caption: String?
            try reader.object { (reader, key) throws(JSONReader.Problem) in
                switch key {
                case "image_id": id = try Self.integer(&reader)
                case "caption" where reader.isNext("\""): caption = try Self.text(&reader)
                default: try reader.skip()
                }
            }
            if let id, let caption {
                body(id, .success(caption))
            } else {
                body(0, .failure(JSONReader.Problem(description: "has no number \"image_id\" or no text \"caption\"")))
            }
        }
    }

    private static func entry(_ reader: inout JSONReader) throws(JSONReader.Problem) -> Entry {
        var entry = Entry()
        try reader.object { (reader, key) throws(JSONReader.Problem) in
            switch key {
            case "id": entry.id = try integer(&reader)
            case "file_name" where reader.isNext("\""), "filename" where reader.isNext("\""):
                entry.fileName = try text(&reader)
            case "filepath" where reader.isNext("\""): entry.filePath = try text(&reader)
            case "split" where reader.isNext("\""): entry.split = try text(&reader)
            case "sentences" where reader.isNext("["): entry.captions = try sentences(&reader)
            default: try reader.skip()
            }
        }
        return entry
    }

    private static func sentences(_ reader: inout JSONReader) throws(JSONReader.Problem) -> [String] {
        var captions: [String] = []
        try reader.list { (reader) throws(JSONReader.Problem) in
            try reader.object { (reader, key) throws(JSONReader.Problem) in
                if key == "raw", reader.isNext("\"") {
                    captions.append(try text(&reader))
                } else {
                    try reader.skip()
                }
            }
        }
        return captions
    }

    private static func integer(_ reader: inout JSONReader) throws(JSONReader.Problem) -> Int? {
        guard !reader.isNext("\""), !reader.isNext("["), !reader.isNext("{") else {
            try reader.skip()
            return nil
        }
        return Int(try reader.word())
    }

    private static func text(_ reader: inout JSONReader) throws(JSONReader.Problem) -> String {
        var buffer: [UInt8] = []
        try reader.text(into: &buffer)
        guard let text = String(validating: buffer, as: UTF8.self) else { throw reader.problem("a text is not UTF-8") }
        return text
    }
}
