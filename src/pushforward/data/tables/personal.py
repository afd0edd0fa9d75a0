"""Columns that look like personal data, by their names and by their cells: `looks_like`.

A column is taken for personal data if most of its cells have an unmistakable form, such as that of
an e-mail address, or if its name says so and its cells do not contradict. Nothing is looked up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pushforward.data.tables.known_names import FAMILY_SIGNS, FAMILY_WORDS, NAMES, TITLES

SAMPLE = 1000  # Different texts of a column that are looked at, at most
FEW = 20  # A column of at most this many different values holds categories
OFTEN = 0.02  # Free texts are at least this fraction of the cells
MOST = 0.5  # The fraction of texts that have a form from which a column has it
UNIQUE = 0.9  # The fraction of cells that differ in a column of identifiers
KNOWN, KNOWN_ALONE = 0.12, 0.2  # Fractions of known names in texts of several words, and of one
HINTED = 0.1  # The same if the column's name hints at persons
LONGEST_ADDRESS = 15  # Words
GENERATION = 35  # Years that most dates of birth span at least
WORDS = 4  # Words of a free text
LETTERS = 5  # Letters that count as a word in scripts without blanks
LONGEST = 200  # Characters of a text that are looked at


@dataclass(frozen=True)
class Cells:
    """The cells of a column, as the rules see them.

    Args:
        name: The name of the column.
        texts: The different texts, in the order of the rows.
        count: The number of cells that hold a value.
        kind: The kind of the column, as in `pushforward.data.tables.inference.KINDS`.
    """

    name: str
    texts: Sequence[str]
    count: int
    kind: str

    @cached_property
    def named(self) -> str:
        """The words of the name, in lower case and without accents, with blanks in between."""
        parts = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=[a-zà-ÿ\d])(?=[A-Z])", " ", self.name)
        return " ".join(re.findall(r"[^\W_]+", plain(parts)))

    @cached_property
    def sample(self) -> list[str]:
        step = max(1, len(self.texts) // SAMPLE)
        return [text[:LONGEST] for text in self.texts[::step]]

    @property
    def several(self) -> bool:
        """Whether there are too many different texts for a few categories that repeat."""
        return len(self.texts) > min(FEW, self.count // 3)

    @property
    def unique(self) -> bool:
        return self.count > FEW // 2 and len(self.texts) >= UNIQUE * self.count

    def fraction(self, fits: Callable[[str], object]) -> float:
        return sum(bool(fits(text)) for text in self.sample) / max(1, len(self.sample))


@lru_cache(maxsize=65536)
def plain(text: str) -> str:
    """Return a text in lower case and without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(part for part in parts if not unicodedata.combining(part))
    return unicodedata.normalize("NFC", letters)


# What cells look like ---------------------------------------------------------------------------


_MAIL = re.compile(r"[^@\s]+(@|\(at\)|\[at\])[^@\s]+\.[^\W\d_]{2,}>?|.+<[^@\s]+@[^@\s]+>")
_PHONE = re.compile(r"(\+|00)?[\s(]*\d[\d\s()/.\-–]{5,20}\d\s*((x|ext\.?|#)\s?\d{1,6})?", re.IGNORECASE)
_CALLED = re.compile(r"\+|00|\(?0|\(\d{2,5}\)|1?[\s.-]?\(?[2-9]\d\d\)?[\s.-]\d{3}[\s.-]\d{4}")
_DATE_LIKE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}|\d+([.,]\d+)?")
_CARD = re.compile(
    r"\d{4}([ -]?)\d{4,6}\1\d{4,5}(\1\d{1,7})?|"
    r"[*xX•\d]{2,6}([ -]?[*xX•\d]{2,6}){1,3}[ -]?\d{4}"
)
_IBAN = re.compile(r"[A-Z]{2}\d{2}( ?[A-Z0-9]{2,4}){3,8}")
_DIGITS = re.compile(r"[A-Z]{0,4}[ -]?\d[\d\s./-]{4,}\d", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")
_BORN = re.compile(
    r"(18[89]|19\d|20[0-3])\d|(1[89]|20)?\d{6}|"
    r".*\d{1,4}\D{1,3}(\d{1,2}|[^\W\d]{3,9})\D{1,3}\d{2,4}.*"
)
_STREET = re.compile(
    r"(?=.*\d).*(\b(st|street|ave?|avenue|rd|road|ln|lane|dr|drive|blvd|boulevard|court|ct|way|"
    r"square|terrace|close|crescent|"
    r"highway|hwy|parkway|pkwy|apt|suite|box|plaza|place|pl|platz|weg|ring|allee|rue|chemin|quai|"
    r"via|viale|vicolo|corso|piazza|"
    r"strada|calle|c/|avda?|avenida|paseo|rua|travessa|largo|ul|al|os|ulica|utca|ut|sok|sokak|"
    r"cad|cadde\w*|mah|mahallesi|jalan|"
    r"jl|straat|gade|vej|gata|vei|katu|tie)\b\.?|(str(asse|\.)?|gasse|weg|platz|allee|ring|damm|"
    r"ufer|steig|straat|laan|gracht|"
    r"gatan|vagen|gade|vej|katu|gata|veien)\.? ?\d+|ул\.|улица|пр-т|просп|пер\.|дом|д\.|οδος|"
    r"शारग|मार्ग|路|街|号|號|丁目|番地|"
    r"[市区區町村]|로 ?\d|길 ?\d|شارع|רחוב)"
)
_HOUSE = re.compile(
    r"(?P<street>[^\W\d]\S*( \S*){0,3}\D),? \d{1,4}(-\d+)?\s?[a-z]?|\d{1,5}[a-z]?,? "
    r"(?P<lane>[^\W\d]\S*( \S+){0,3})",
    re.IGNORECASE,
)
_IDENTITY = re.compile(
    r"\d{3}-\d{2}-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|[A-Z]{2} ?(\d\d ?){3}[A-Z]|\d{6}-[1-4]\d{6}|"
    r"\d(-\d+){4}|[XYZ]?\d{7,8}-?[A-Z]|[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]|"
    r"(19|20)?\d{6}[-+A]\d{3}[\dA-Z]|[A-Z]{4}\d{6}[HM][A-Z]{5}\w\d|[1-9]\d{5}(19|20)\d{9}[\dXx]|"
    r"[\da-fA-F]{8}(-[\da-fA-F]{4}){3}-[\da-fA-F]{12}|[\da-fA-F]{32,}|\d{1,3}(\.\d{1,3}){3}|"
    r"([\da-fA-F]{2}[:-]){5}[\da-fA-F]{2}|"
    r"([\da-f]{1,4}:){3,7}:?[\da-f]{0,4}"
)
_TOKEN = re.compile(
    r"(?=(.*\d){3})(?=.*[^\W\d_])[\w./:-]{5,40}|"
    r"(?=.*\d\D*\d)(?=.*[A-ZÄÖÜА-Я])[A-ZÄÖÜА-Я\d]{1,5}([ -][A-ZÄÖÜА-Я\d]{1,6}){1,3}"
)
_MEASURED = re.compile(
    r"[<>~]?[-+]?[\d.,:]+\s?[^\W\d_]{1,4}([/²³]\w*)?|"
    r"\d+(st|nd|rd|th)|[a-zA-Z]{0,3}[-+]?\d+[.,]\d+"
)
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_LONE_NUMBER = re.compile(r"0\d{6,}|\d{9,19}")
_PERSON = re.compile(r"[^\d_@#/\\:;!?=+*<>{}%&$€£|~^]{2,60}")
_NO_PERSON = re.compile(
    r".*(\b(inc|ltd|limited|llc|llp|plc|corp|corporation|company|co|group|holding|gmbh|mbh|kgaa|"
    r"kg|ag|ohg|gbr|e\.? ?v|e\.? ?g|sarl|sas|"
    r"sa|sl|srl|spa|bv|nv|oy|ab|asa|aps|et fils|e figli|and sons|ооо|оао|зао|ао|ип|нпо|рао|лтд|"
    r"групп)\b| (and|und|et|y|e|и) |&|[a-z]{2,}\.[a-z]{2,}|"
    r"有限公司|株式会社|(주)|주식회사)|(north|east|south|west|new|lake|port|fort|san|santa|saint|sainte|st|"
    r"bad|mount|los|las|el)\b.*|"
    r"[\u3040-\uffff ]+[市县縣省区區県町村州国國시군구도읍면]"
)


def _dialled(text: str) -> bool:
    """Whether a text is a telephone number, and neither a plain number nor a date."""
    digits = sum(map(str.isdigit, text))
    apart = re.search(r"[\s()/.+-]", text.lstrip("-"))
    form = _PHONE.fullmatch(text) and _CALLED.match(text) and not _DATE_LIKE.fullmatch(text)
    return bool(form and apart and 7 <= digits <= 20 and not re.match("97[89]", text))


def _checked(text: str) -> bool:
    """Whether a text is a card number, whose digits have Luhn's check sum, or a masked one."""
    if not _CARD.fullmatch(text):
        return False
    digits = [int(digit) for digit in text if digit.isdecimal()]
    if any(sign in "*xX•" for sign in text):
        return len(digits) >= 4
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _street(text: str) -> bool:
    return _words(text) <= LONGEST_ADDRESS and bool(_STREET.match(plain(text)))


def _token(text: str) -> bool:
    return bool(_TOKEN.fullmatch(text)) and not _MEASURED.fullmatch(text)


def _words(text: str) -> int:
    """Count the words of a text; one for each few letters of a script without blanks."""
    return len(text.split()) + len(_SPACELESS.findall(text)) // LETTERS


def _known(text: str) -> bool:
    """Whether a word of a text is a frequent name of persons, or has the form of one."""
    words = re.split(r"[\s,.'’()-]+", plain(text).strip())
    if any(word in NAMES for word in words[:1] + words[-2:]):
        return True
    return any(FAMILY_WORDS.fullmatch(word) for word in words) or bool(FAMILY_SIGNS.fullmatch(text))


# Rules ------------------------------------------------------------------------------------------


def _are_names(cells: Cells) -> bool:
    if cells.fraction(TITLES.match) > MOST / 2:
        return True
    others = cells.fraction(lambda text: _NO_PERSON.match(plain(text)))
    if not cells.several or cells.fraction(_PERSON.fullmatch) < MOST or others > KNOWN:
        return False
    known, long = cells.fraction(_known), cells.fraction(lambda text: _words(text) > 5)
    several = cells.fraction(lambda text: 2 <= _words(text) <= 5) > MOST
    return known > (KNOWN if several else KNOWN_ALONE) and long < MOST / 2


def _are_phones(cells: Cells) -> bool:
    return cells.several and cells.fraction(_dialled) > MOST


def _are_cards(cells: Cells) -> bool:
    return cells.fraction(_checked) > MOST


def _are_addresses(cells: Cells) -> bool:
    """Whether texts name a street, or are of different words with different house numbers."""
    if not cells.several or cells.fraction(_street) > MOST:
        return cells.several
    houses = [house for house in map(_HOUSE.fullmatch, cells.sample) if house]
    ways = {house["street"] or house["lane"] for house in houses}
    numbers = {re.sub(r"\D", "", house[0]) for house in houses}
    return len(ways) > MOST * len(cells.sample) and len(numbers) > min(FEW, len(cells.sample) // 3)


def _are_births(cells: Cells) -> bool:
    """Whether dates without a time of day span generations, in no order."""
    if cells.kind != "date" or not cells.several or ":" in cells.texts[0]:
        return False
    found = [_YEAR.search(text) for text in cells.sample]
    years = [int(year[0]) for year in found if year]
    ordered = sorted(years)
    if not years or years in (ordered, ordered[::-1]):
        return False
    return ordered[len(ordered) * 9 // 10] - ordered[len(ordered) // 10] >= GENERATION


def _are_identifiers(cells: Cells) -> bool:
    if cells.several and cells.fraction(_IDENTITY.fullmatch) > MOST:
        return True
    differing = cells.count > FEW // 2 and len(cells.texts) > MOST * cells.count
    if differing and cells.fraction(_token) > MOST:
        return True
    lengths = {len(text) for text in cells.sample}
    if not cells.unique or len(lengths) > 2 or _are_times(cells):
        return False
    return cells.fraction(_LONE_NUMBER.fullmatch) > UNIQUE


def _are_times(cells: Cells) -> bool:
    """Whether numbers are seconds or milliseconds since 1970."""
    return cells.fraction(re.compile(r"1[0-9]{9}([0-9]{3})?").fullmatch) > UNIQUE


def _are_free(cells: Cells) -> bool:
    middle = sorted(map(_words, cells.sample))[len(cells.sample) // 2]
    return cells.several and middle >= WORDS and len(cells.texts) > OFTEN * cells.count


@dataclass(frozen=True)
class Rule:
    """A kind of personal data.

    Args:
        what: The kind in words.
        certain: Whether cells are of this kind, whatever the column is called.
        named: A pattern of column names, as `Cells.named` writes them.
        likely: A pattern of the cells of a column with such a name.
        also: A further test of a column with such a name.
    """

    what: str
    certain: Callable[[Cells], bool]
    named: re.Pattern[str]
    likely: re.Pattern[str]
    also: Callable[[Cells], bool] = lambda cells: cells.several

    def fits(self, cells: Cells) -> bool:
        if self.certain(cells):
            return True
        called = self.named.search(cells.named) and not _NOT_PERSONAL.search(cells.named)
        return bool(called) and self.also(cells) and cells.fraction(self.likely.fullmatch) > MOST


# What is counted or described of somebody, and is not his name, number or address
_NOT_PERSONAL = re.compile(
    r"\b(balances?|amounts?|counts?|types?|status|flags?|len|lengths?|brands?|models?|plans?|"
    r"services?|providers?|verified|valid|"
    r"opt|optin|sent|opened|clicks?|rates?|weights?|order|age|tenure|limits?|days?|months?|score|"
    r"saldo|betrag|art|anzahl|alter|"
    r"gewicht|country|land|nation\w*|state|region|products?|compan(y|ies)|firma|files?|events?|"
    r"species|teams?|total|sum|avg|mean)\b"
)
_PEOPLE = (
    "customer|client|user|patient|person|people|employee|staff|member|student|pupil|subject|"
    "contact|owner|holder|card ?holder|"
    "account ?holder|passenger|guest|tenant|driver|parent|mother|father|spouse|child|partner|"
    "doctor|physician|teacher|agent|"
    "manager|author|seller|buyer|sender|recipient|recipients|applicant|candidate|beneficiary|"
    "insured|donor|voter|citizen|"
    "kunden?|patient(en|in)?|personen?|mitarbeiter\\w*|mitglied\\w*|nutzer|benutzer|inhaber|"
    "kontoinhaber|mieter|fahrer|"
    "schuler|studenten?|teilnehmer|lehrer|arzt|ansprechpartner|sachbearbeiter|empfanger|absender|"
    "versicherte?[nr]?|bewerber|"
    "autor|vermieter|eigentumer|halter|client[ei]?|empleado|paciente|usuario|dipendente|paziente|"
    "utente|klant|pracownik"
)
_NUMBER = "id|ids|no|nr|num|number|numbers|nummer|nummern|key|uuid|guid|kennung|code|ref|reference"


def _pattern(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(words)})\b")


_WEB = _pattern("ip", "mac", "web", "url", "mail", "email")
_ANY = re.compile(r".*", re.DOTALL)
RULES = (
    Rule(
        "e-mail addresses",
        lambda cells: cells.fraction(_MAIL.fullmatch) > MOST,
        _pattern("e ?mail", "mail"),
        _MAIL,
    ),
    Rule(
        "account numbers",
        lambda cells: cells.several and cells.fraction(_IBAN.fullmatch) > MOST,
        _pattern(
            r"iban|bban|account|acct|(bank|giro|spar)?konto(nr|nummer|no)?|bankverbindung|kto( "
            r"?nr)?|routing|blz|bankleitzahl|"
            r"cuenta|compte|conto|rekening(nummer)?|rachunek|conta|hesap|счет|расчетный|银行账号|账号|"
            r"口座番号|계좌번호"
        ),
        re.compile(r"[A-Z]{0,2}\d[\d\s./-]{4,32}[\dxX]|[*xX•]+ ?\d{3,}"),
    ),
    Rule(
        "card numbers",
        _are_cards,
        _pattern(
            r"(credit|debit|bank)? ?cards?|kredit ?karten?\w*|karten? ?(nr|nummer)|cc|ccn|pan|"
            r"tarjeta|carte|carta|cartao"
        ),
        re.compile(r"[\d*xX•][\d*xX• -]{10,22}"),
    ),
    Rule(
        "telephone numbers",
        _are_phones,
        _pattern(
            r"\w*phones?|tele?|cell|mobile?|mobil(funk)?(nummer|nr)?|handy\w*|tele?fon\w*|"
            r"telephon\w*|fax\w*|ruf ?nummer|msisdn|"
            r"whatsapp|celular|portable|cellulare|gsm|телефон|电话|手机|電話|電話番号|携帯|전화|전화번호|휴대폰|هاتف|"
            r"טלפון|τηλεφωνο"
        ),
        re.compile(r"[+(\d][\d\s()/.+–-]{5,24}((x|ext\.?)\s?\d+)?", re.IGNORECASE),
    ),
    Rule(
        "dates of birth",
        _are_births,
        _pattern(
            r"birth|birthda(y|te)|birthyear|dob|yob|born|geburt(s?(tag|datum|jahr)?)|geb|geb "
            r"?dat\w*|geboren|naissance|nacimiento|"
            r"nascita|nascimento|geboorte\w*|fodt|fodsel\w*|fodelse\w*|syntym\w*|urodz\w*|"
            r"narozeni|dogum|рождения|出生|出生日期|"
            r"生年月日|生日|생년월일|생일"
        ),
        _BORN,
        lambda cells: cells.several and not re.search(r"\b(place|city|town|ort)\b", cells.named),
    ),
    Rule(
        "addresses",
        _are_addresses,
        _pattern(
            r"address\w*|addr|adress[ae]?n?|anschrift|\w*anschrift|\w*adresse|streets?|"
            r"\w*strasse|^str$|haus ?(nr|nummer)|"
            r"house ?(no|nr|number)|zip|zip ?codes?|post(al)? ?codes?|postleitzahl|plz|wohnort|"
            r"geburtsort|birth ?place|"
            r"place of birth|birth (city|town)|home ?town|direccion|domicilio|calle|codigo "
            r"postal|indirizzo|adres|ulica|rue|"
            r"code postal|endereco|cep|postnummer|kod pocztowy|адрес|улица|индекс|地址|住所|住址|邮编|"
            r"郵便番号|주소|우편번호|عنوان|כתובת"
        ),
        re.compile(r"[^\W\d].{2,}|\d[\d/-]*\s?[a-zA-Z]?([\s,].*)?|[\dA-Z -]{3,10}", re.DOTALL),
        lambda cells: cells.several and not _WEB.search(cells.named),
    ),
    Rule(
        "names",
        _are_names,
        _pattern(
            r"(first|last|sur|family|given|middle|maiden|full|fore|legal|real|preferred|"
            r"christian) ?names?|[flm]name|"
            rf"({_PEOPLE}) ?(first|last|full|sur)? ?names?|names? of (the )?({_PEOPLE})|"
            r"\w*vornamen?|\w*nachnamen?|zunamen?|familiennamen?|geburtsnamen?|rufnamen?|(kunden|"
            r"patienten|mitarbeiter)namen?|"
            r"prenoms?|nom de famille|nombres?|apellidos?|nome|cognome|sobrenome|imie|nazwisko|"
            r"(voor|achter)naam|"
            r"(for|efter|etter)na(mn|vn)|jmeno|prijmeni|keresztnev|vezeteknev|soyad|имя|фамилия|"
            r"отчество|фио|姓名|姓|名字|"
            r"氏名|名前|이름|성명|성함|اسم|الاسم|שם|ονομα|επωνυμο|नाम"
        ),
        _PERSON,
    ),
    Rule(
        "names",
        lambda cells: False,
        _pattern("names?|naam|nev|ad|nom|nazwa", _PEOPLE),
        _PERSON,
        lambda cells: cells.fraction(_known) > HINTED and cells.several,
    ),
    Rule(
        "identifiers",
        _are_identifiers,
        _pattern(
            r"ssn|social security( \w+)?|nino|national insurance|\w*versicherungs ?(nr|nummer)|"
            r"sv ?n(umme)?r|steuer ?(id|nr|nummer)\w*|"
            r"steuer identifikationsnummer|tax ?(id|no|number|payer)( \w+)?|passport( \w+)?|"
            r"passnummer|reisepass\w*|\w*ausweis\w*|"
            r"national id|person(al)? ?(id|no|number|nummer|nr)|personnummer|identity( \w+)?|"
            r"nhs( \w+)?|mrn|medical record( \w+)?|"
            rf"({_PEOPLE}|account|policy|insurance|device|session|cookie|driv\w+ licen[cs]e|"
            rf"police|matrikel|vertrags?|login|"
            rf"loyalty|membership|case|akten|fall) ?({_NUMBER})|(kunden|patienten|mitglieds|"
            rf"personal|matrikel|vertrags|policen|"
            r"versicherten|benutzer|nutzer|mitarbeiter|fall)(nr|nummer|id|kennung)|akten "
            r"?zeichen|imei|imsi|ip|ip addr\w*|"
            r"mac addr\w*|vin|fahrgestell\w*|kennzeichen|licen[cs]e plate|number plate|plate|"
            r"user ?names?|login|nick ?names?|"
            r"screen name|benutzernamen?|twitter|instagram|handle|dni|nif|nie|cpf|cnpj|curp|"
            r"pesel|bsn|codice fiscale|hkid|aadhaar|"
            r"инн|снилс|паспорт|身份证|身份证号|マイナンバー|주민등록번호"
        ),
        re.compile(r"(?!-?\d*[.,]\d+$).+", re.DOTALL),
    ),
    Rule(
        "identifiers",
        lambda cells: False,
        _pattern("id", "uuid", "guid"),
        _ANY,
        lambda cells: cells.unique,
    ),
    Rule(
        "free text",
        _are_free,
        _pattern(
            r"comments?|notes?|remarks?|descriptions?|feedback|reviews?|messages?|texts?|"
            r"\w*freitext|bemerkung(en)?|kommentare?|"
            r"notiz(en)?|anmerkung(en)?|beschreibung(en)?|hinweise?|nachricht(en)?|"
            r"observacion(es)?|comentarios?|commentaires?|"
            r"opmerking(en)?|anamnes[ei]s?|complaints?|beschwerden?|комментари[ий]|примечание|备注|"
            r"備考|비고"
        ),
        re.compile(r".*\S[\s,;].*\S.*|.*[\u3040-\u9fff]{5}.*", re.DOTALL),
    ),
)


def looks_like(name: str, texts: Sequence[str], count: int, kind: str) -> str:
    """Say what personal data a column looks like.

    Args:
        name: The name of the column.
        texts: Its different texts, in the order of the rows, without those of missing values.
        count: The number of its cells that hold a value.
        kind: Its kind, as in `pushforward.data.tables.inference.KINDS`.

    Returns:
        The kind of personal data, such as "e-mail addresses"; an empty text for other columns.
    """
    if kind == "number" and all(text.endswith(".0") for text in texts):
        texts = [text.removesuffix(".0") for text in texts]
        kind = "whole"
    if not texts or kind in ("boolean", "number"):
        return ""
    cells = Cells(name, texts, count, kind)
    return next((rule.what for rule in RULES if rule.fits(cells)), "")
