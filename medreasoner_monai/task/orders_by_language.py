"""Patterns of orders to a model in languages other than English.

Regular expressions on text that is NFKC-normalised, casefolded and free of European and Arabic accents, so that
"réponds" and "Reponds" are one. As in English, the verb has the form that commands, and between it and its object
stand articles and the like alone: "ignoriere das Artefakt im Bild" is a question's, "ignoriere das Bild" an order.
"""

# ruff: noqa: RUF001 - the languages' own letters

from __future__ import annotations

_ARTICLES = (
    # German, Dutch
    r"(?:\s+(?:das|die|den|der|dem|dies\w*|all\w*|dein\w*|ihr\w*|sie|bitte|vorherig\w*|bisherig\w*|obig\w*|fruher\w*"
    r"|vorig\w*|gesamt\w*|ganz\w*|was|het|de|dit|deze|je|jouw|uw|eerdere?|vorige|bovenstaande|hele|naar|auf|von"
    # French, Spanish, Italian, Portuguese
    r"|le|la|les|l|cette|cet|ces|tes|vos|ton|votre|tou\w*|de|du|des|precedent\w*|el|los|las|esta|este|estas|estos|tus|sus"
    r"|tod\w*|anterior\w*|previ\w*|del|lo|il|gli|i|questa|questo|queste|tue|tutt\w*|quest|le|un|a|o|as|os|essa|suas?|seus?"
    # Polish, Russian
    r"|te|ten|wszystki\w*|swoj\w*|poprzedni\w*|wczesniejsz\w*|о|об|на|это|эти|все|всех|свои|твои|предыдущ\w*|прошл\w*|прежн\w*"
    r"|caly|calego)){0,4}(?:\s+|\s+l'\s*|\s+all'|\s+dell'|\s+quest'|\s+d')"
)
_OBJECTS = (
    r"(?:bild(?:es)?|aufnahme|foto|anweisung\w*|regel\w*|vorgabe\w*|frage|befehle?|beeld|afbeelding|plaatje|instructies?"
    r"|regels|vraag|opdracht\w*|image|photo|cliche|consignes?|instructions?|regles|question|imagen|instrucciones|reglas"
    r"|pregunta|immagine|istruzion[ei]|regole|domanda|imagem|instrucoes|regras|pergunta|obraz(?:u|ek|ka)?|zdjeci[ea]"
    r"|instrukcj\w*|polecen\w*|zasad\w*|pytani\w*|изображени\w*|картинк\w*|снимок|снимка|инструкци\w*|указани\w*|правил\w*"
    r"|вопрос)\b"
)
_VERBS = (
    r"\b(?:ignoriere\w*|vergiss|vergessen\s+sie|missachte\w*|ubergehe|negeer|vergeet|ignore[zr]?|oublie[zr]?"
    r"|ignor[ae]n?|olvid[ae]|omite|dimentica|ignori|scorda|esqueca|esquece|desconsidere|zignoruj|ignoruj|zapomnij|pomin"
    r"|игнорируй\w*|проигнорируй\w*|забудь\w*|не\s+смотри\w*|не\s+обращай\w*\s+внимания)"
)
OVERRIDE = (
    rf"{_VERBS}{_ARTICLES}{_OBJECTS}",
    r"\b(?:schau\w*|sieh|beachte\w*|betrachte\w*)(?:\s+sie)?\s+(?:nicht\s+)?(?:auf\s+)?(?:das\s+|dieses\s+)?bild\s+nicht\b|\bschau\w*\s+nicht\s+auf",
    r"\bohne\s+(?:auf\s+)?das\s+bild\s+(?:an)?zu\w*",
    r"\bne\s+(?:regarde[zr]?|tiens|tenez|utilise[zr]?)\s+(?:pas|aucun\s+compte)\s+(?:compte\s+de\s+)?(?:l'|cette\s+)image|\bsans\s+regarder\s+l'image",
    r"\b(?:no|sin)\s+(?:mires|mire|mirar|uses|tengas\s+en\s+cuenta|tenga\s+en\s+cuenta)\s+(?:la|esta)\s+imagen",
    r"\b(?:non|senza)\s+(?:guardare|considerare|usare)\s+l'immagine|\b(?:nao|sem)\s+(?:olhe|olhar|considere|use)\s+(?:para\s+)?(?:a|esta)\s+imagem",
    r"\b(?:kijk|let)\s+niet\s+(?:naar|op)\s+(?:het|de)\s+(?:beeld|afbeelding|plaatje|foto)\b",
    r"\bnie\s+patrz\w*\s+na\s+(?:ten\s+)?(?:obraz|zdjecie)|\bбез\s+просмотра\s+(?:снимка|изображения)",
    # Turkish
    r"\b(?:goruntuyu|resmi|fotografi|talimatlari|kurallari|soruyu|komutlari)\s+(?:yok\s+say|gormezden\s+gel|goz\s+ardi\s+et(?:\b|in)|unut(?:\b|un)|dikkate\s+alma\b)",
    r"\b(?:goruntuye|resme)\s+bakma(?:\b|dan|yin)",
    # Chinese
    r"(?<![被应能可])(?:忽略|无视|無視|忽视|忘记|忘掉|忘記|跳过|不理会|绕过)(?:所有|全部|一切|任何|这[个张些]|该|此|之前|先前|以前|前面|上述|[你您的])*(?:(?:图像|图片|影像|照片)(?![中上里内的])|指示|指令|规则|提示|问题|要求|以上|上文)",
    r"(?:不要|别|不用|不必)[^。?!,]{0,2}(?:看|参考|理会)[^。?!,]{0,3}(?:图|影像|照片)",
    # Japanese
    r"(?:画像|写真|指示|命令|規則|ルール|質問|プロンプト|上記)(?:を|は|の内容を)?(?:すべて|全て|全部)?(?:無視(?:し|せよ|しろ)|忘れ(?:て|ろ)|見ないで|見ずに)(?!は(?:なら|いけ))",
    # Korean
    r"(?:영상|이미지|사진|그림|지시|명령|규칙|질문|프롬프트)(?:들|사항)?(?:을|를)?\s*(?:모두|전부|완전히)?\s*(?:무시하(?:고|세요|라|십)|무시해|잊(?:고|어|으)|보지\s*(?:말|마))(?!\S*\s*안)",
    # Arabic
    r"(?:تجاهل|انس|انسى|تخط|تخطى)\s+(?:كل\s+|جميع\s+|هذه\s+)?(?:الصورة|التعليمات|القواعد|السؤال|الأوامر|الاوامر)(?!\s+في)",
    r"لا\s+تنظر\s+(?:إلى|الى)\s+(?:هذه\s+)?الصورة",
    # Hindi
    r"(?:चित्र|छवि|तस्वीर|निर्देश|निर्देशों|नियम|नियमों|प्रश्न)\s+(?:को\s+)?(?:अनदेखा\s+कर|नज़रअंदाज\s+कर|नजरअंदाज\s+कर|भूल\s+जा|मत\s+देख|न\s+देखें)",
)
_START = r"(?:^|[.?!:;¡(]\s*)"
_QUOTES = r"[\"'«»„“”\[\d]"
DICTATE = (
    rf"(?:{_START}|\bund\s+)(?:antworte\w*|erwidere)(?:\s+sie)?\s+(?:nur|ausschliesslich|stets|immer|genau|mit\b|{_QUOTES})",
    rf"{_START}(?:sage?|schreibe?)(?:\s+sie)?(?:\s+|,\s*)(?:{_QUOTES}|dass?\s+nichts)|\bgib\s+(?:nur\s+)?(?:null|nichts|\[)",
    rf"{_START}antwoord\s+(?:alleen|altijd|enkel|uitsluitend|met\b|{_QUOTES})|{_START}(?:schrijf|zeg)\s+(?:{_QUOTES}|dat\s+er\s+niets)",
    rf"{_START}(?:reponds|repondez)\s+(?:uniquement|seulement|toujours|par\b|simplement|{_QUOTES})",
    rf"{_START}(?:ecris|ecrivez|dis|dites)\s+(?:{_QUOTES}|qu'il\s+n'y\s+a\s+rien)",
    rf"{_START}(?:responde|responda|contesta)\s+(?:solo|solamente|unicamente|siempre|sempre|apenas|somente|con\b|com\b|{_QUOTES})",
    rf"{_START}(?:di|diga|escribe|escreva)\s+(?:{_QUOTES}|que\s+no\s+hay\s+nada|que\s+nao\s+ha\s+nada)",
    rf"{_START}(?:rispondi|risponda)\s+(?:solo|soltanto|sempre|unicamente|con\b|{_QUOTES})|{_START}(?:scrivi|di')\s+(?:{_QUOTES}|che\s+non\s+c'e\s+nulla)",
    rf"{_START}(?:odpowiedz|odpowiadaj)\s+(?:tylko|zawsze|wylacznie|{_QUOTES})|{_START}napisz\s+{_QUOTES}",
    rf"{_START}(?:ответь|отвечай)\w*\s+(?:только|всегда|лишь|{_QUOTES})|{_START}(?:напиши|скажи)\w*(?:\s+|,\s*)(?:{_QUOTES}|что\s+ничего)",
    r"\b(?:sadece|yalnizca|her\s+zaman|hep)\b[^.?!]{0,30}\b(?:yanit|cevap)\s*(?:ver|yaz)(?:\b|in)|\b(?:yanitini|cevabini)\s+ver\b",
    r"\b(?:markiere|wahle|marque[zr]?|marca|segna|markeer|zaznacz|отметь)\s+(?:das\s+ganze|toute\s+l'|toda\s+la\s+|a\s+|tutta\s+l'|het\s+hele|caly|вс[её]\s+)\s*(?:bild|image\b|imagen|imagem\s+inteira|immagine|beeld|obraz|изображение)",
    r"(?:^|[。.?!,]\s*)请?(?:只|仅|直接|必须|始终|总是|一律)(?:能|要|需)?(?:回答|输出|返回|说|写)|(?:只|仅|必须)(?:能|要)?回答",
    r"回答(?:零|0|没有|[:\"“\[])|(?:^|[。.?!,]\s*)(?:输出|返回)[^。?!]{0,2}[\[\"“0零]|[标框选][^。?!]{0,4}(?:整张|整个|全部)(?:图|影|画)",
    r"(?:と(?:だけ)?|だけ(?:で)?|のみ(?:で)?|だけを)(?:答え(?:て|ろ|なさい)|回答し(?:て|ろ|なさい)|出力し(?:て|ろ))",
    r"(?:라고만?|만|으로만|로만)\s*(?:답하|대답하|출력하)(?:세요|라|십시오)",
    r"(?<!\w)و?(?:أجب|اجب|قل|اكتب)\s+(?:ب\S+\s+فقط|فقط|دائما|\[|ب?أنه\s+لا\s+يوجد)",
    r"(?:केवल|सिर्फ़?|हमेशा)[^।?!]{0,25}(?:उत्तर|जवाब)\s*(?:दें|दो|दीजिए|लिख)",
)
ROLE = (
    r"\bdu\s+bist\s+(?:jetzt|nun|ab\s+sofort)\s+(?:ein|kein|frei)|\bab\s+(?:jetzt|sofort)\s+bist\s+du\b|\btu\s+so,?\s+als\b|\bspiele?\s+die\s+rolle\b",
    r"\btu\s+es\s+(?:maintenant|desormais)\b|\bvous\s+etes\s+(?:maintenant|desormais)\s+une?\b|\b(?:fais|faites)\s+semblant\b|\bcomporte-toi\s+comme\b",
    r"\b(?:ahora|a\s+partir\s+de\s+ahora)\s+eres\b|\beres\s+ahora\b|\b(?:agora|a\s+partir\s+de\s+agora)\s+voce\s+e\b|\bvoce\s+e\s+agora\b",
    rf"{_START}(?:finge|finja|actua\s+como|aja\s+como)\b|\b(?:ora|adesso|d'ora\s+in\s+poi)\s+(?:tu\s+)?sei\s+un|\bfai\s+finta\b|\bcomportati\s+come\b",
    r"\bje\s+bent\s+(?:nu|vanaf\s+nu)\s+een\b|\bdoe\s+alsof\b|\b(?:jestes\s+teraz|teraz\s+jestes)\b|\budawaj\b",
    r"\b(?:теперь\s+ты|ты\s+теперь|отныне\s+ты)\b|\bпритворись\b|\bпредставь,?\s+что\s+ты\b|\b(?:artik|simdi)\s+sen\b|\bsen\s+artik\b|\bgibi\s+davran\b",
    r"你现在是|从现在(?:起|开始),?你|(?:^|[。.?!,你请]\s*)(?:扮演|假装)",
    r"(?:あなた|お前)は(?:今から|これから|今)[^。]{0,30}(?:モデル|ai|アシスタント|ロボット)|のふりをしろ|のふりをして|になりきって|を演じて",
    r"(?:당신은|너는|넌)\s*(?:이제|지금부터)[^.]{0,30}(?:모델|ai|비서|로봇|어시스턴트)|인\s*척\s*(?:하|해)|역할을\s*(?:해|하세요|맡)",
    r"(?:أنت|انت)\s+(?:الآن|الان)\s+(?:نموذج|مساعد|بلا|بدون)|(?:^|[.?!]\s*)(?:تظاهر|تصرف)\s+(?:بأنك|بانك|أنك|كأنك|كانك)",
    r"(?:अब\s+(?:तुम|आप)|(?:तुम|आप)\s+अब)\s[^।?!]{0,30}(?:मॉडल|सहायक|एआई|रोबोट)|होने\s+का\s+नाटक",
    # A request for the instructions, in any of these languages.
    r"\bsystem-?\s?prompt|\bsystemanweisung|\b(?:zeige?|affiche|muestra|mostra|mostre|toon|pokaz|покажи)\s+(?:mir\s+|me\s+)?(?:deine?n?|tes|tus|le\s+tue|suas|je|swoje|свои|твои)\s+(?:anweisung|instruc|istruz|instrukc|инструкц)|系统提示|システムプロンプト|시스템\s*프롬프트",
)
