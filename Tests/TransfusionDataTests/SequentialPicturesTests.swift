import Testing

@testable import TransfusionData

@Suite struct SequentialPicturesTests {
    /// Samples that are numbers; every third one has no picture.
    struct Numbers: SampleReader {
        final class Counter { var samples = 0 }

        var numbers: [Int]
        /// Read behind the last of them.
        var problem: DataError?
        let counter: Counter

        static func picture(of sample: Int) -> PictureBytes? {
            sample % 3 == 0 ? nil : PictureBytes(name: "\(sample)", storage: .memory([]))
        }

        mutating func next() throws(DataError) -> Int? {
            guard !numbers.isEmpty else {
                if let problem { throw problem }
                return nil
            }
            counter.samples += 1
            return numbers.removeFirst()
        }
    }

    let counter = Numbers.Counter()

    /// Four files of numbers from 0 on, the third of which cannot be read to its end; what 7 divides is bad.
    func listed() -> (pictures: SequentialPictures<Numbers>, names: [String]) {
        let files = [0..<10, 10..<10, 10..<24, 24..<50]
        var pictures = SequentialPictures { [counter] (file) throws(DataError) in
            Numbers(
                numbers: Array(files[file]), problem: file == 2 ? DataError("owl", "is cut off") : nil,
                counter: counter)
        }
        let bad = BadInput(allowed: 100)
        for _ in files {
            pictures.listFile(bad: bad) { (number) throws(DataError) in
                if number % 7 == 0 { throw DataError("\(number)", "is bad") }
                return number % 3 != 0
            }
        }
        let names = (0..<50).filter { $0 % 3 != 0 && $0 % 7 != 0 }.map(String.init)
        #expect(bad.count == 9 && pictures.count == names.count && counter.samples == 50)
        return (pictures, names)
    }

    func taken(_ pictures: inout SequentialPictures<Numbers>, from first: Int, count: Int) throws -> [String] {
        var names: [String] = []
        try pictures.forEach(from: first) { (picture) throws(DataError) in
            names.append(picture.name)
            return names.count < count
        }
        return names
    }

    @Test func anyPartOfThePicturesIsGiven() throws {
        var (pictures, names) = listed()
        for first in [0, 3, 20, names.count - 1, 0, 7, 8] {
            for count in [1, 2, 5, 100] {
                let expected = Array(names.dropFirst(first).prefix(count))
                #expect(try taken(&pictures, from: first, count: count) == expected, "\(first), \(count)")
            }
        }
        #expect(try taken(&pictures, from: names.count, count: 9) == [])
    }

    @Test func unitsInTurnReadEverySampleOnce() throws {
        var (pictures, names) = listed()
        counter.samples = 0
        var found: [String] = []
        for first in stride(from: 0, to: names.count, by: 4) {
            found += try taken(&pictures, from: first, count: min(4, names.count - first))
        }
        #expect(found == names && counter.samples <= 50 && counter.samples > 45)
        // Of the units in between, which others take, no file is read from its beginning again.
        counter.samples = 0
        _ = try taken(&pictures, from: 0, count: 1)
        for first in stride(from: 2, to: names.count, by: 8) {
            #expect(try taken(&pictures, from: first, count: 2).first == names[first])
        }
        #expect(counter.samples <= 50)
    }

    @Test func whatStopsTheTakingIsThrown() throws {
        var (pictures, names) = listed()
        for first in [2, 12] {
            #expect {
                try pictures.forEach(from: first) { (picture) throws(DataError) in throw DataError(picture.name, "no") }
            } throws: { "\($0)" == "\(names[first]): no" }
        }
        #expect(try taken(&pictures, from: 1, count: 100) == Array(names.dropFirst()))
    }
}
